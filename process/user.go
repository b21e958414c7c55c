package process

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// User is who a child runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // the supplementary ones; nil is none

	Name string // "" when the machine's passwd file has no such user
	Home string
}

// ErrUnknownUser and ErrUnknownGroup tell that a name or number stands for
// nobody.
var (
	ErrUnknownUser  = errors.New("no such user")
	ErrUnknownGroup = errors.New("no such group")
)

// Accounts are the files that have the names of users and groups (passwd(5),
// group(5)). They are read by us because os/user takes the variable USER at its
// word where the passwd file does not know us: `app` could turn out to be root.
type Accounts struct{ Passwd, Group string }

// SystemAccounts are those of the machine or image.
func SystemAccounts() Accounts { return Accounts{Passwd: "/etc/passwd", Group: "/etc/group"} }

// Find gives the user with a name or number. group is a name or number too, or
// "": then it is the user's own one in the passwd file; for a number that is
// not in there, the group of the same number, and not root's as elsewhere. The
// supplementary groups are those of a user that was named, unless a group was
// given, as for docker run --user.
//
// The error is ErrUnknownUser or ErrUnknownGroup, or that of a file that cannot
// be read; a file that is not there has no names.
func (a Accounts) Find(user, group string) (User, error) {
	uid, number := parseID(user)
	u, found, err := a.passwd(func(name string, id uint32) bool { return name == user && !number || id == uid && number })
	switch {
	case err != nil:
		return User{}, err
	case !found && !number:
		return User{}, ErrUnknownUser
	case !found:
		u = User{UID: uid, GID: uid}
	}
	if group != "" {
		u.GID, err = a.gid(group)
		return u, err
	}
	if !number {
		u.Groups, err = a.memberOf(user)
	}
	return u, err
}

// passwd gives the first entry that match accepts.
func (a Accounts) passwd(match func(name string, id uint32) bool) (u User, found bool, err error) {
	err = eachLine(a.Passwd, func(f []string) bool {
		if len(f) < 6 {
			return true
		}
		uid, okUID := parseID(f[2])
		gid, okGID := parseID(f[3])
		if okUID && okGID && f[0] != "" && match(f[0], uid) {
			u, found = User{UID: uid, GID: gid, Name: f[0], Home: f[5]}, true
		}
		return !found
	})
	return u, found, err
}

// gid gives the number of a group. A number need not be in the file.
func (a Accounts) gid(group string) (uint32, error) {
	if id, ok := parseID(group); ok {
		return id, nil
	}
	var gid uint32
	found := false
	err := eachLine(a.Group, func(f []string) bool {
		if len(f) >= 3 && f[0] == group {
			gid, found = parseID(f[2])
		}
		return !found
	})
	if err == nil && !found {
		err = ErrUnknownGroup
	}
	return gid, err
}

// memberOf lists the groups that name a user as a member.
func (a Accounts) memberOf(user string) (groups []uint32, err error) {
	err = eachLine(a.Group, func(f []string) bool {
		if len(f) < 4 || !slices.Contains(strings.Split(f[3], ","), user) {
			return true
		}
		if id, ok := parseID(f[2]); ok && !slices.Contains(groups, id) {
			groups = append(groups, id)
		}
		return true
	})
	return groups, err
}

// eachLine gives the fields of each line until more is false.
func eachLine(path string, more func(fields []string) bool) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !more(strings.Split(line, ":")) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parseID refuses 4294967295, which setresuid(2) takes for "leave it as it is".
func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}
