package plan

import (
	"strings"
	"testing"
)

func TestMasks(t *testing.T) {
	for _, c := range []struct {
		mask     Mask
		fail, ci bool
		mode     RunMode
		want     bool
	}{
		{MaskAuto, false, false, RunAuto, false},
		{MaskAuto, false, true, RunAuto, true},
		{MaskAuto, false, true, RunReplace, false},
		{MaskAuto, true, false, RunAuto, true},
		{MaskOn, false, false, RunSupervise, true},
		{MaskOff, false, true, RunAuto, false},
	} {
		r := Run{Mask: Set(c.mask, Origin{}), FailOnLeak: Set(c.fail, Origin{}), Mode: Set(c.mode, Origin{})}
		if got := r.Masks(c.ci); got != c.want {
			t.Errorf("mask %v, fail_on_leak %v, CI %v, mode %v: masks %v", c.mask, c.fail, c.ci, c.mode, got)
		}
	}
	if (&Run{}).Masks(false) || !(&Run{}).Masks(true) {
		t.Error("nothing said is not auto")
	}
}

// TestCheckMask: what cannot be together is told, all of it.
func TestCheckMask(t *testing.T) {
	at := Origin{At: "sb.yaml"}
	replace := Set(RunReplace, at)
	for _, c := range []struct {
		name string
		run  Run
		want []string
	}{
		{"nothing", Run{}, nil},
		{"auto and replace", Run{Mode: replace, Mask: Set(MaskAuto, at), PTY: Set(PTYAuto, at)}, nil},
		{"off and replace", Run{Mode: replace, Mask: Set(MaskOff, at), FailOnLeak: Set(false, at)}, nil},
		{"all and replace", Run{Mode: replace, Mask: Set(MaskOn, at), PTY: Set(PTYOn, at), FailOnLeak: Set(true, at)}, []string{"mask: on", "pty: on", "fail_on_leak"}},
		{"off and fail", Run{Mask: Set(MaskOff, at), FailOnLeak: Set(true, at)}, []string{"fail_on_leak: masking is turned off at sb.yaml"}},
	} {
		err := (&Plan{Run: c.run}).Check()
		var ps Problems
		ps.Add(err)
		if len(ps) != len(c.want) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(ps[i].Error(), want) || ps[i].Code != CodeConfig {
				t.Errorf("%s: %v, want %s", c.name, ps[i], want)
			}
		}
	}
}
