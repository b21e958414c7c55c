package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// readers read as an application should: they open ..data once and read below it.
type readers struct {
	*world
	sink string

	// lenient is set while what was delivered may have ended behind everybody's
	// back: a refused login is no failure then.
	lenient atomic.Bool

	mu       sync.Mutex
	failures []string
	secrets  map[string]bool // every value that was seen
	looks    int
	logins   map[string]int
	refused  int           // logins, in a lenient time
	roleGap  time.Duration // the longest time in which the static role's password was an old one
	good     time.Time     // when the last look was that a dynamic user logged in with
}

func (r *readers) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failures) < 20 {
		r.failures = append(r.failures, time.Now().Format(time.TimeOnly)+" "+fmt.Sprintf(format, args...))
	}
}

// look is one generation, as one reader sees it.
type look struct {
	at    time.Time
	name  string // of the generation
	files map[string]string
}

var soakFiles = []string{"user", "password", "both", "role-user", "role-password", "tls.crt", "tls.key", "a", "b"}

// see opens ..data once and reads everything below it.
func (r *readers) see() (l look, err error) {
	began := time.Now()
	dir, err := os.OpenRoot(filepath.Join(r.sink, "..data"))
	if err != nil {
		return look{}, err
	}
	defer dir.Close()
	l = look{at: began, files: map[string]string{}}
	for _, name := range soakFiles {
		text, err := dir.ReadFile(name)
		if err != nil {
			return look{}, fmt.Errorf("%w (%v after ..data was opened)", err, time.Since(began))
		}
		l.files[name] = string(text)
	}
	l.name, _ = os.Readlink(filepath.Join(r.sink, "..data"))
	return l, nil
}

// agrees checks that everything is of one generation, and whole.
func (l look) agrees() error {
	var errs []error
	for name, text := range l.files {
		if text == "" {
			errs = append(errs, errors.New(name+" is empty"))
		}
	}
	if l.files["both"] != l.files["user"]+":"+l.files["password"]+":"+l.files["a"] {
		errs = append(errs, errors.New("user, password and their common file differ"))
	}
	if l.files["a"] != strings.Replace(l.files["b"], "-b-", "-a-", 1) {
		errs = append(errs, errors.New("two fields of one secret differ"))
	}
	if _, err := tls.X509KeyPair([]byte(l.files["tls.crt"]), []byte(l.files["tls.key"])); err != nil {
		errs = append(errs, fmt.Errorf("certificate and key: %w", err))
	}
	return errors.Join(errs...)
}

// valid tells whether the certificate is good now.
func (l look) valid() error {
	block, _ := pem.Decode([]byte(l.files["tls.crt"]))
	if block == nil {
		return errors.New("no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err == nil && time.Now().After(cert.NotAfter) {
		err = fmt.Errorf("the certificate has expired %v ago", time.Since(cert.NotAfter))
	}
	return err
}

// read looks again and again until stop is closed, and logs in about once a second.
func (r *readers) read(stop <-chan struct{}) {
	login := time.NewTicker(time.Second)
	defer login.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-stop:
			return
		case <-again.C:
			r.once(false)
		case <-login.C:
			r.once(true)
		}
	}
}

func (r *readers) once(login bool) {
	l, err := r.see()
	if err == nil {
		err = l.agrees()
	}
	if err != nil {
		r.fail("%v", err)
		return
	}
	r.mu.Lock()
	r.looks++
	for name, text := range l.files {
		if name != "user" && name != "role-user" && name != "tls.crt" {
			r.secrets[text] = true
		}
	}
	r.mu.Unlock()
	if err := l.valid(); err != nil && !r.lenient.Load() {
		r.fail("%v", err)
	}
	if login {
		r.logIn(l)
		r.logInRole()
	}
}

// logIn uses the user that a lease stands for.
func (r *readers) logIn(l look) {
	lenient, began := r.lenient.Load(), time.Now()
	_, err := r.login(l.files["user"], l.files["password"], "select 1")
	r.mu.Lock()
	r.logins["dynamic"]++
	if err == nil && l.at.After(r.good) {
		r.good = l.at
	}
	r.mu.Unlock()
	switch {
	case err == nil:
	case lenient || r.lenient.Load():
		r.mu.Lock()
		r.refused++
		r.mu.Unlock()
	default:
		now, _ := r.see()
		r.fail("%v (user %s, generation %s, now %s, %v ago)", err, l.files["user"], l.name, now.name, time.Since(began))
	}
}

// roleGapMax is two waits between looks at what is overdue (9 s at most each, so that
// there are no more than ten a minute), for a fault may fall on the look in between.
const roleGapMax = 20 * time.Second

// logInRole uses the user whose password Vault rotates. Between the rotation and
// our reading it nobody can have the new one: how long that was is measured.
func (r *readers) logInRole() {
	began := time.Now()
	for {
		l, err := r.see()
		if err != nil {
			r.fail("%v", err)
			return
		}
		_, err = r.login(l.files["role-user"], l.files["role-password"], "select 1")
		gap := time.Since(began)
		if err == nil {
			r.mu.Lock()
			r.logins["static"]++
			if gap > r.roleGap && !r.lenient.Load() {
				r.roleGap = gap
			}
			r.mu.Unlock()
			return
		}
		if gap > roleGapMax {
			r.fail("static role: %v, for %v", err, gap)
			return
		}
		time.Sleep(100 * time.Millisecond) // bounds the rate of logins
	}
}

// recovered waits until a dynamic user can log in that was looked up after since.
func (r *readers) recovered(since time.Time) {
	r.t.Helper()
	r.until("a login that works again", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.good.After(since)
	})
}

// leaked names what of the secrets is in a text; the names only.
func (r *readers) leaked(text []byte) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.secrets {
		if len(s) >= 8 && bytes.Contains(text, []byte(s)) {
			n++
		}
	}
	return n
}

// footprint is what a process holds.
type footprint struct {
	rss int // KiB
	fds int
}

func footprintOf(pid int) (f footprint, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return f, err
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS:") {
			_, err = fmt.Sscanf(line, "VmRSS: %d kB", &f.rss)
		}
	}
	fds, readErr := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	f.fds = len(fds)
	return f, errors.Join(err, readErr)
}

// stopped stops a process for a while, as a machine that is overloaded does.
func stopped(pid int, d time.Duration) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(d)
	return syscall.Kill(pid, syscall.SIGCONT)
}
