package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/process"
)

// FuzzAccounts reads files of users and groups beside a reader that is as simple as
// passwd(5) is, and checks above all what must not be: that a name which is in no line
// becomes somebody, or root.
func FuzzAccounts(f *testing.F) {
	const users = "root:x:0:0:root:/root:/bin/sh\n# app:x:0:0::/:\napp:x:1000:1001::/app:\n\nbad:x:-1:0::/:\nshort:x:7\nbig:x:4294967295:0::/:\napp:x:0:0::/:"
	const groups = "root:x:0:\nstaff:x:50:app,other\nwheel:x:10:app\nnone:x::app\nstaff:x:0:"
	for _, user := range []string{"app", "1000", "root", "0", "short", "big", "nobody", "4294967295", "-1", "+0", "00", "", "#", "x"} {
		f.Add(users, groups, user, "")
		f.Add(users, groups, user, "staff")
	}
	dir, err := os.MkdirTemp("/dev/shm", "accounts-")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := process.Accounts{Passwd: filepath.Join(dir, "passwd"), Group: filepath.Join(dir, "group")}
	f.Fuzz(func(t *testing.T, passwd, group, user, of string) {
		if err := errors.Join(os.WriteFile(a.Passwd, []byte(passwd), 0o600), os.WriteFile(a.Group, []byte(group), 0o600)); err != nil {
			t.Fatal(err)
		}
		got, err := a.Find(user, of)
		want, known := findAccount(table(passwd, 6), table(group, 3), user, of)
		if (err == nil) != known {
			t.Fatalf("%q of %q: %+v, %v; known %v", user, of, got, err, known)
		}
		if known && (got.UID != want.UID || got.GID != want.GID || got.Name != want.Name || got.Home != want.Home || !slices.Equal(got.Groups, want.Groups)) {
			t.Fatalf("%q of %q: %+v, want %+v", user, of, got, want)
		}
	})
}

// table gives the lines of a file that have so many fields.
func table(text string, fields int) (rows [][]string) {
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if row := strings.Split(line, ":"); len(row) >= fields && !strings.HasPrefix(line, "#") {
			rows = append(rows, row)
		}
	}
	return rows
}

// id is a number from 0 to 4294967294, in digits; -1 for whatever else.
func id(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || strings.Trim(s, "0123456789") != "" || n >= 1<<32-1 {
		return -1
	}
	return n
}

func findAccount(users, groups [][]string, user, group string) (u process.User, known bool) {
	number := id(user)
	for _, row := range users {
		mine := row[0] == user && number < 0 || id(row[2]) == number && number >= 0
		if mine && row[0] != "" && id(row[2]) >= 0 && id(row[3]) >= 0 {
			u, known = process.User{UID: uint32(id(row[2])), GID: uint32(id(row[3])), Name: row[0], Home: row[5]}, true
			break
		}
	}
	if !known && number >= 0 {
		u, known = process.User{UID: uint32(number), GID: uint32(number)}, true
	}
	if !known || group == "" {
		if known && number < 0 {
			u.Groups = memberships(groups, user)
		}
		return u, known
	}
	if n := id(group); n >= 0 {
		u.GID = uint32(n)
		return u, true
	}
	for _, row := range groups {
		if row[0] == group && id(row[2]) >= 0 {
			u.GID = uint32(id(row[2]))
			return u, true
		}
	}
	return u, false
}

func memberships(groups [][]string, user string) (of []uint32) {
	for _, row := range groups {
		if n := id(row[2]); len(row) > 3 && n >= 0 && slices.Contains(strings.Split(row[3], ","), user) && !slices.Contains(of, uint32(n)) {
			of = append(of, uint32(n))
		}
	}
	return of
}
