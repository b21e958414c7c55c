package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/status"
)

func at(address string) plan.Setting[string] {
	return plan.Set(address, plan.Origin{Front: "flag", At: "--listen"})
}

// served answers probes on a port until the test ends; stop ends it before that.
func served(t *testing.T) (address string, stop func()) {
	t.Helper()
	ln, err := listen(t.Context(), at("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{stderr: t.Output(), level: new(slog.LevelVar), board: status.New(time.Now)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.serve(ctx, ln, a.board)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// talk sends a text and gives all that comes back.
func talk(t *testing.T, address, text string) string {
	t.Helper()
	conn := dial(t, address)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%v after %q", err, answer)
	}
	return string(answer)
}

func TestServe(t *testing.T) {
	address, _ := served(t)
	const alive, refused = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 400 Bad Request\r\n"
	for name, c := range map[string]struct {
		request, begin, end string
	}{
		"plain":          {"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", alive, "\r\n\r\nalive\n"},
		"HTTP/1.0":       {"GET /livez HTTP/1.0\r\n\r\n", alive, "\r\n\r\nalive\n"},
		"keep-alive":     {"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", alive, "\r\n\r\nalive\n"},
		"two at once":    {strings.Repeat("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 2), alive, "\r\n\r\nalive\n"},
		"HEAD":           {"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n", alive, "\r\n\r\n"},
		"with a body":    {"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", "HTTP/1.1 405 ", "not allowed\n"},
		"no HTTP":        {"SSH-2.0-x\r\n\r\n", refused, "\r\n\r\n"},
		"TLS":            {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", refused, "\r\n\r\n"},
		"HTTP/2":         {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 404 ", "not found\n"},
		"a head too big": {"GET /livez HTTP/1.1\r\nX: " + strings.Repeat("x", maxRequestHead) + "\r\n\r\n", refused, "\r\n\r\n"},
		"two lengths":    {"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", refused, "\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := talk(t, address, c.request)
			if !strings.HasPrefix(got, c.begin) || !strings.HasSuffix(got, c.end) || strings.Count(got, "HTTP/1.1 ") != 1 {
				t.Errorf("answer %q", got)
			}
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), &http.Request{Method: strings.Fields(c.request)[0]})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil || !resp.Close {
				t.Errorf("Date or Connection: %v, %v", err, resp.Header)
			}
		})
	}
}

// As the clients of the kubelet and of Prometheus do it.
func TestServeGoClient(t *testing.T) {
	address, _ := served(t)
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	for range 200 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "\nsecretboot_ready 0\n") {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
	}
}

// Who connects and says nothing, or little, holds nobody up for longer than a moment.
func TestServeSlowCallers(t *testing.T) {
	t.Parallel()
	address, stop := served(t)
	var idle []net.Conn
	for range maxExchanges {
		conn := dial(t, address)
		if _, err := io.WriteString(conn, "GET /li"); err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	start := time.Now()
	if got := talk(t, address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasSuffix(got, "alive\n") {
		t.Errorf("answer %q", got)
	}
	if took := time.Since(start); took > 2*exchangeTime {
		t.Errorf("answered after %v", took)
	}
	for _, conn := range idle { // all of them are cut off
		_ = conn.SetReadDeadline(time.Now().Add(2 * exchangeTime))
		if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a caller that says nothing is kept")
		}
	}
	stop()
}

// However many connect and say nothing, a probe does not wait until they are cut off.
func TestServeManyIdle(t *testing.T) {
	t.Parallel()
	address, stop := served(t)
	const many = 200
	for range many {
		dial(t, address)
	}
	start := time.Now()
	if got := talk(t, address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasSuffix(got, "alive\n") {
		t.Errorf("answer %q", got)
	}
	if took := time.Since(start); took > many/maxExchanges*exchangeTime/2 {
		t.Errorf("answered after %v", took)
	}
	stop()
}

// The end does not wait for callers.
func TestServeEndsAtOnce(t *testing.T) {
	address, stop := served(t)
	for range 3 {
		conn := dial(t, address)
		if _, err := io.WriteString(conn, "GET /li"); err != nil {
			t.Fatal(err)
		}
	}
	_ = talk(t, address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") // those before it are accepted by now
	start := time.Now()
	stop()
	if took := time.Since(start); took > exchangeTime/2 {
		t.Errorf("ended after %v", took)
	}
	if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("somebody still listens: %v", err)
	}
}

func TestListenRefused(t *testing.T) {
	ln, err := listen(t.Context(), at("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for address, want := range map[string]struct {
		code plan.Code
		text string
	}{
		ln.Addr().String(): {plan.CodeSink, "address already in use (declared at --listen); end the program that listens there"},
		"192.0.2.1:9100":   {plan.CodeSink, "cannot assign requested address"},
		"nonsense":         {plan.CodeConfig, "must be HOST:PORT or unix:PATH"},
	} {
		_, err := listen(t.Context(), at(address))
		if plan.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %d %v", address, plan.CodeOf(err), err)
		}
	}
	if ln, err := listen(t.Context(), plan.Setting[string]{}); ln != nil || err != nil {
		t.Error(ln, err)
	}
}

// The socket is for our user alone from its first moment on, whatever the umask is.
func TestListenSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	old := unix.Umask(0)
	ln, err := listen(t.Context(), at("unix:"+path))
	unix.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Error(info, err)
	}
	if _, err := listen(t.Context(), at("unix:"+path)); plan.CodeOf(err) != plan.CodeSink || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("two listen there: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

func TestListenReplacesWhatADeadOneLeft(t *testing.T) {
	path := t.TempDir() + "/s"
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	ln, err := listen(t.Context(), at("unix:"+path))
	if err != nil {
		t.Fatal(err)
	}
	// what takes its name afterwards is not ours to remove
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("foreign"), 0o600), ln.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), at("unix:"+path)); plan.CodeOf(err) != plan.CodeSink || !strings.Contains(err.Error(), "no socket of ours") {
		t.Error(err)
	}
	if text := read(t, path); string(text) != "foreign" {
		t.Errorf("%q", text)
	}
}

func TestListenLeavesSocketsOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run this test as root")
		}
		t.Skip("SKIPPED, NOT PASSED: a socket of another user needs root")
	}
	path := t.TempDir() + "/s"
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := errors.Join(dead.Close(), os.Chown(path, 1234, 1234)); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), at("unix:"+path)); plan.CodeOf(err) != plan.CodeSink || !strings.Contains(err.Error(), "no socket of ours") {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestExitWith(t *testing.T) {
	a := &app{}
	with := func(s string) (<-chan struct{}, error) {
		c, _, err := a.exitWith(t.Context(), plan.Set(s, plan.Origin{Front: "flag", At: "--exit-with"}))
		return c, err
	}
	if c, _, err := a.exitWith(t.Context(), plan.Setting[string]{}); c != nil || err != nil {
		t.Error(c, err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone, err := with(strconv.Itoa(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/done"
	there, err := with(path)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
		t.Fatal("the process lives")
	case <-there:
		t.Fatal("the file is not there")
	default:
	}
	if err := errors.Join(cmd.Process.Kill(), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, c := range []<-chan struct{}{gone, there} {
		select {
		case <-c:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was told")
		}
	}
	for bad, text := range map[string]string{
		path + ".d/x": "the folder \"" + path + ".d\" does not exist (declared at --exit-with); create it",
		path + "/x":   "not a directory",
		"done":        "must be the number of a process or the absolute path of a file",
	} {
		if _, err := with(bad); plan.CodeOf(err) != plan.CodeConfig || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
