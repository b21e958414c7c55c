package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// keepCommands are the words for what is kept fresh, where something has to be
// waited for that comes by itself.
func keepCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"holds":  cmdHolds,
		"said":   cmdSaid,
		"metric": cmdMetric,
		"stamp":  cmdStamp,
		"reader": cmdReader,
	}
}

// cmdHolds waits until a file holds a text, less the white space around it.
func cmdHolds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: holds FILE TEXT")
	}
	waitFor(ts, args[0]+" with "+args[1], func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && strings.TrimSpace(string(text)) == args[1]
	})
}

// cmdSaid waits until a text that matches was written to err.
func cmdSaid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: said REGEXP")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	waitFor(ts, "the text "+args[0], func() bool {
		text, err := os.ReadFile(ts.MkAbs("err"))
		return err == nil && want.Match(text)
	})
}

// cmdMetric waits until a line of /metrics at the socket $WORK/s.sock matches.
func cmdMetric(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: metric REGEXP")
	}
	want := regexp.MustCompile("(?m)^(?:" + args[0] + ")$")
	socket := filepath.Join(ts.Getenv("WORK"), "s.sock")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	waitFor(ts, "the metric "+args[0], func() bool {
		resp, err := client.Get("http://probe/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && want.Match(text)
	})
}

// cmdStamp writes down what tells one delivery from another: the generation, and
// inode and time of each file, as readers see them.
func cmdStamp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: stamp OUT FILE…")
	}
	var text strings.Builder
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		fmt.Fprintln(&text, name, info.Sys().(*syscall.Stat_t).Ino, info.ModTime().UnixNano())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text.String()), 0o600))
}

// cmdReader serves
//
//	reader FILE   from now on read a file again and again, whatever happens
//	reader        it was there, and not empty, each time
func cmdReader(ts *testscript.TestScript, neg bool, args []string) {
	state := current(ts)
	switch {
	case neg || len(args) > 1:
		ts.Fatalf("usage: reader [FILE]")
	case len(args) == 1:
		stop, result := make(chan struct{}), make(chan error, 1)
		path := ts.MkAbs(args[0])
		go func() { result <- readUntil(path, stop) }()
		state.reader = func() error { close(stop); return <-result }
		ts.Defer(func() {
			if state.reader != nil {
				_ = state.reader()
			}
		})
	default:
		err := state.reader()
		state.reader = nil
		ts.Check(err)
	}
}

func readUntil(path string, stop <-chan struct{}) error {
	for n := 0; ; n++ {
		select {
		case <-stop:
			if n == 0 {
				return fmt.Errorf("%s was not read once", path)
			}
			return nil
		default:
		}
		text, err := os.ReadFile(path)
		if err == nil && len(bytes.TrimSpace(text)) == 0 {
			err = fmt.Errorf("%s was empty", path)
		}
		if err != nil {
			return err
		}
		time.Sleep(100 * time.Microsecond) // the other processes need the CPU too
	}
}
