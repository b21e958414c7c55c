package process_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/secretboot/secretboot/process"
)

// TestAccounts: names and numbers, and entries that are none.
func TestAccounts(t *testing.T) {
	dir := t.TempDir()
	a := process.Accounts{Passwd: filepath.Join(dir, "passwd"), Group: filepath.Join(dir, "group")}
	t.Setenv("USER", "ghost") // os/user would take us for that one
	t.Setenv("HOME", "/ghost")
	if _, err := a.Find("ghost", ""); !errors.Is(err, process.ErrUnknownUser) {
		t.Errorf("without files: %v", err)
	}
	passwd := "# users\nroot:x:0:0:root:/root:/bin/sh\nbroken:x:1\n\nbad:x:-1:1::/:\n+nis::::::\napp:x:1000:1001:App:/home/app:/bin/sh\nwide:x:4294967295:1::/:\n1000:x:5:5::/five:\nlast:x:7:7::/last:/bin/false"
	group := "root:x:0:\nstaff:x:50:other,app\napp:x:1001:\nalso:x:60:app\ntwice:x:60:app\nbad:x:nan:app\nappx:x:70:appx"
	if err := errors.Join(os.WriteFile(a.Passwd, []byte(passwd), 0o600), os.WriteFile(a.Group, []byte(group), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, group, want string
		err               error
	}{
		{"app", "", "1000:1001 [50 60] app /home/app", nil},
		{"app", "staff", "1000:50 [] app /home/app", nil},
		{"app", "12", "1000:12 [] app /home/app", nil},
		{"1000", "", "1000:1001 [] app /home/app", nil},
		{"1000", "0", "1000:0 [] app /home/app", nil},
		{"65532", "", "65532:65532 []  ", nil},
		{"65532", "staff", "65532:50 []  ", nil},
		{"last", "", "7:7 [] last /last", nil},
		{"root", "", "0:0 [] root /root", nil},
		{"ghost", "", "", process.ErrUnknownUser},
		{"bad", "", "", process.ErrUnknownUser},
		{"broken", "", "", process.ErrUnknownUser},
		{"wide", "", "", process.ErrUnknownUser},
		{"4294967295", "", "", process.ErrUnknownUser},
		{"-1", "", "", process.ErrUnknownUser},
		{"+0", "", "", process.ErrUnknownUser},
		{"app", "nope", "", process.ErrUnknownGroup},
		{"app", "bad", "", process.ErrUnknownGroup},
		{"app", "4294967295", "", process.ErrUnknownGroup},
	} {
		u, err := a.Find(c.user, c.group)
		if got := fmt.Sprintf("%d:%d %v %s %s", u.UID, u.GID, u.Groups, u.Name, u.Home); !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%s:%s gave %s, %v; want %s, %v", c.user, c.group, got, err, c.want, c.err)
		}
	}
}
