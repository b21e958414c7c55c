package plan_test

import (
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestSplitUser(t *testing.T) {
	for in, want := range map[string][2]string{"app": {"app", ""}, "65532:1": {"65532", "1"}, "a.b$:c-d": {"a.b$", "c-d"}} {
		if user, group, ok := plan.SplitUser(in); !ok || user != want[0] || group != want[1] {
			t.Errorf("%q: %q, %q, %v", in, user, group, ok)
		}
	}
	for _, in := range []string{"", ":", ":1", "a:", "a:b:c", "a b", "a:b\n", "\x00"} {
		if _, _, ok := plan.SplitUser(in); ok {
			t.Errorf("%q is accepted", in)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for in, want := range map[string]uint64{"CHOWN": 1, "cap_net_raw": 1 << 13, "CAP_CHECKPOINT_RESTORE": 1 << 40, "sys_admin": 1 << 21, "All": ^uint64(0)} {
		name, ok := plan.ParseCapability(in)
		if got := plan.CapabilityBits([]string{name}); !ok || got != want {
			t.Errorf("%s: %s, %v, %x", in, name, ok, got)
		}
	}
	for _, in := range []string{"", "CAP_", "CAP_ALL", "CAP_CAP_CHOWN", "13"} {
		if name, ok := plan.ParseCapability(in); ok {
			t.Errorf("%q is accepted as %s", in, name)
		}
	}
	if got := plan.CapabilityBits([]string{"CHOWN", "KILL"}); got != 1<<0|1<<5 {
		t.Errorf("%x", got)
	}
}

// TestGive: who names an owner or group keeps it, and nobody gets a wider mode.
func TestGive(t *testing.T) {
	files := []plan.File{{Path: "a"}, {Path: "b", Group: "7"}, {Path: "c", Owner: "8"}, {Path: "d", Mode: 0o444}}
	p := plan.Plan{Files: files, Sets: []plan.FileSet{{Dir: "s"}}}
	p.Give("1", "2")
	want := []plan.File{{Owner: "1", Group: "2", Mode: 0o400}, {Owner: "1", Group: "7"}, {Owner: "8"}, {Owner: "1", Group: "2", Mode: 0o444}}
	for i, f := range p.Files {
		if w := want[i]; f.Owner != w.Owner || f.Group != w.Group || f.Mode != w.Mode {
			t.Errorf("%s: %s:%s %o", f.Path, f.Owner, f.Group, f.Mode)
		}
	}
	if s := p.Sets[0]; s.Owner != "1" || s.Group != "2" || s.Mode != 0o400 {
		t.Errorf("the set: %s:%s %o", s.Owner, s.Group, s.Mode)
	}
	if files[0].Owner != "" {
		t.Error("the list that was given is changed")
	}
}
