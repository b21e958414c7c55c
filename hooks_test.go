package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// hooksFor makes hooks whose PATH has this binary, as the program child, alone.
func hooksFor(t *testing.T, more ...string) hooks {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "child")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inputs := []plan.Handle{{Kind: plan.HandleEnv, Name: "MY_ROLE"}}
	return hooks{target: &target{environ: append([]string{"PATH=" + dir}, more...), inputs: inputs, log: slog.New(slog.DiscardHandler)}}
}

func execOf(words ...string) plan.Action { return plan.Action{Kind: plan.ActionExec, Argv: words} }

// TestHookCheck: what is not there is told before any request, and with a code
// that is never taken for the target's.
func TestHookCheck(t *testing.T) {
	h := hooksFor(t)
	for _, tt := range []struct {
		argv []string
		want string
	}{
		{[]string{"child"}, ""},
		{[]string{"none"}, "command none: not found"},
		{[]string{"plain"}, "command plain: permission denied"},
		{[]string{"sh", "-c", "CANARY"}, "command sh: the image has no shell"},
		{[]string{"/bin/no/such/bash", "-c", "CANARY"}, "the image has no shell"},
		{[]string{"sh"}, "command sh: not found"},
	} {
		err := h.Check(execOf(tt.argv...))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%q: %v", tt.argv, err)
			}
			continue
		}
		if plan.CodeOf(err) != plan.CodeConfig || !strings.HasPrefix(err.Error(), tt.want) && !strings.Contains(err.Error(), ": "+tt.want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: %v (code %d)", tt.argv, err, plan.CodeOf(err))
		}
	}
}

func TestHookRun(t *testing.T) {
	h := hooksFor(t, "A=1", "VAULT_TOKEN=t", "MY_ROLE=r", "SECRETBOOT_X=y", "SECRETBOOT_DIR=/old")
	out := filepath.Join(t.TempDir(), "environ")
	if err := h.Run(t.Context(), execOf("child", "environ", out), "/run/secrets"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range bytes.Split(text, []byte{0}) {
		if name, value, _ := strings.Cut(string(entry), "="); name != "PATH" {
			names = append(names, name+"="+value)
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "A=1 SECRETBOOT_DIR=/run/secrets" {
		t.Errorf("environment %s", got)
	}

	err = h.Run(t.Context(), execOf("child", "exit", "3", "CANARY"), "")
	if plan.CodeOf(err) != plan.CodeData || !strings.HasPrefix(err.Error(), "command child: it ended with code 3") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("%v", err)
	}
	err = h.Run(t.Context(), execOf("none"), "")
	if plan.CodeOf(err) != plan.CodeConfig {
		t.Errorf("gone meanwhile: %v", err)
	}
}

// TestHookEnds: at its own time, and with us.
func TestHookEnds(t *testing.T) {
	h := hooksFor(t)
	slow := execOf("child", "deaf")
	slow.Timeout = 300 * time.Millisecond
	err := h.Run(t.Context(), slow, "")
	if plan.CodeOf(err) != plan.CodeData || !strings.Contains(err.Error(), "did not end within 300ms") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	signal := errors.New("signal")
	time.AfterFunc(100*time.Millisecond, func() { cancel(signal) })
	if err := h.Run(ctx, execOf("child", "deaf"), ""); !errors.Is(err, signal) {
		t.Errorf("%v", err)
	}
}
