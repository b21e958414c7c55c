package plan_test

import (
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestSplitListen(t *testing.T) {
	for in, want := range map[string][2]string{
		"127.0.0.1:9100":                    {"tcp", "127.0.0.1:9100"},
		"localhost:0":                       {"tcp", "127.0.0.1:0"},
		":65535":                            {"tcp", ":65535"},
		"[::1]:80":                          {"tcp", "[::1]:80"},
		"[fe80::1%eth0]:80":                 {"tcp", "[fe80::1%eth0]:80"},
		"0.0.0.0:1":                         {"tcp", "0.0.0.0:1"},
		"unix:/run/secretboot.sock":         {"unix", "/run/secretboot.sock"},
		"unix:///run/x/../s":                {"unix", "/run/s"},
		"unix:/" + strings.Repeat("s", 106): {"unix", "/" + strings.Repeat("s", 106)},
		"unix://" + strings.Repeat("s", 106) + "/": {"unix", "/" + strings.Repeat("s", 106)},
	} {
		network, address, err := plan.SplitListen(in)
		if err != nil || network != want[0] || address != want[1] {
			t.Errorf("%q: %q %q, %v", in, network, address, err)
		}
	}
	for _, in := range []string{
		"", "9100", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1:080",
		"::1:80", "[::1:80", "[127.0.0.1]:80", "[]:80", "vault.example:80", "http://127.0.0.1:80", "127.0.0.1:80/x", "127.1:80",
		"unix:", "unix:run/x", "unix:@x", "unix:/a\nb", "unix:/" + strings.Repeat("s", 107),
	} {
		if network, address, err := plan.SplitListen(in); err == nil {
			t.Errorf("%q is accepted as %q %q", in, network, address)
		}
	}
}

func TestSplitExitWith(t *testing.T) {
	for in, want := range map[string]struct {
		pid  int
		path string
	}{"1": {1, ""}, "2147483647": {2147483647, ""}, "/run/done": {0, "/run/done"}, "/run//x/../done": {0, "/run/done"}} {
		if pid, path, err := plan.SplitExitWith(in); err != nil || pid != want.pid || path != want.path {
			t.Errorf("%q: %d %q, %v", in, pid, path, err)
		}
	}
	for _, in := range []string{"", "0", "-1", "+1", "2147483648", "99999999999999999999", "done", "./done", "1x", " 1"} {
		if pid, path, err := plan.SplitExitWith(in); err == nil {
			t.Errorf("%q is accepted as %d %q", in, pid, path)
		}
	}
}
