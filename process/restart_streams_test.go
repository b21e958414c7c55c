package process_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/secretboot/secretboot/process"
)

// TestRestartStreams: a child that is started again writes to the same writers,
// through pipes and through a terminal.
func TestRestartStreams(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		out := &sink{}
		s := &process.Streams{Stdout: out, Stderr: &sink{}}
		if terminal {
			s = &process.Streams{Terminal: out, Stderr: &sink{}, Monitor: []string{"monitor"}}
		}
		signals := make(chan os.Signal, 512)
		l := newLines(t)
		control := process.NewControl()
		line := `echo "$GEN out"; echo ready >"$REPORT"; exec sleep 100`
		env := func(gen string) []string {
			return []string{"PATH=" + os.Getenv("PATH"), "GEN=" + gen, "REPORT=" + l.path}
		}
		done := make(chan int)
		go func() {
			code, err := process.Supervise(process.Spec{
				Path: "/bin/sh", Argv: []string{"sh", "-c", line}, Env: env("one"), Streams: s, Control: control, Log: slog.New(slog.DiscardHandler),
			}, signals)
			if err != nil {
				t.Error(err)
			}
			done <- code
		}()
		l.want("ready")
		for { // it may not know yet that the child is there
			err := control.Restart(t.Context(), env("two"))
			if err == nil {
				break
			}
			if !errors.Is(err, process.ErrEnded) {
				t.Fatal(err)
			}
		}
		l.want("ready")
		signals <- syscall.SIGTERM
		if code := <-done; code != 143 {
			t.Errorf("code %d", code)
		}
		waitAll(t, s)
		if got := strings.ReplaceAll(out.String(), "\r", ""); got != "one out\ntwo out\n" {
			t.Errorf("terminal %v: %q", terminal, got)
		}
	}
}
