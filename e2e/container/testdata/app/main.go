// Command app is what stands for an application in the containers: an image from
// scratch has no shell. Without a word it asks the database at $DATABASE, and then waits
// for a SIGTERM. Else its words are carried out in order:
//
//	exit N          end with N
//	die N           be ended by signal N
//	record          print ready, then each signal; end with 0 at a SIGTERM
//	deaf            the same, but never end
//	stoppable       like record, but a ctrl-Z stops it
//	ignored N       print whether signal N is ignored
//	say TEXT        print it
//	daemon          leave a process behind, in a session of its own, that has our outputs
//	orphans N       make N orphans end, and print how many are left unreaped
//	cat FILE        print a file; relative names are below $SECRETBOOT_DIR
//	ls              print mode, owner and name of the files in $SECRETBOOT_DIR
//	env NAME        print a variable
//	status          print what the kernel says of our rights
//	parent          print the number of our parent
//	write FILE      try to write there, and print why not
//	terminal        print ready and the window's size, then the next line that is typed
//	serve ADDRESS   a database: the password of $POSTGRES_PASSWORD_FILE lets one in
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for another process.
const patience = 20 * time.Second

func main() {
	words := os.Args[1:]
	next := func() string {
		if len(words) == 0 {
			return ""
		}
		w := words[0]
		words = words[1:]
		return w
	}
	if len(words) == 0 {
		words = []string{"query", os.Getenv("DATABASE"), "record"}
	}
	for len(words) > 0 {
		if err := word(next(), next); err != nil {
			fmt.Fprintln(os.Stderr, "app:", err)
			os.Exit(99)
		}
	}
}

func word(w string, next func() string) error {
	switch w {
	case "exit":
		os.Exit(number(next()))
	case "die":
		signal.Reset()
		_ = syscall.Kill(os.Getpid(), syscall.Signal(number(next())))
		time.Sleep(patience)
	case "record", "deaf", "stoppable":
		record(w)
	case "ignored":
		n := number(next())
		fmt.Println("ignored", n, signal.Ignored(syscall.Signal(n)))
	case "say":
		fmt.Println(next())
	case "daemon":
		return daemon()
	case "lurk":
		fmt.Println("daemon")
		_, _ = os.NewFile(3, "parent").WriteString("x")
		time.Sleep(time.Hour)
	case "orphans":
		return orphans(number(next()))
	case "middle":
		return middle(number(next()))
	case "leaf":
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "cat":
		text, err := os.ReadFile(below(next()))
		fmt.Println(strings.TrimSpace(string(text)))
		return err
	case "ls":
		return list()
	case "env":
		fmt.Println(os.Getenv(next()))
	case "status":
		return status()
	case "parent":
		fmt.Println("parent", os.Getppid())
	case "write":
		fmt.Println(os.WriteFile(next(), []byte("x"), 0o600))
	case "terminal":
		return terminal()
	case "serve":
		return serve(next())
	case "query":
		return query(next())
	default:
		return fmt.Errorf("unknown word %q", w)
	}
	return nil
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(99)
	}
	return n
}

func below(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(os.Getenv("SECRETBOOT_DIR"), name)
}

func record(how string) {
	signals := make(chan os.Signal, 1024)
	for n := syscall.Signal(1); n <= 64; n++ {
		// Go's own, and of our own children.
		if n != syscall.SIGURG && n != syscall.SIGCHLD && (n != syscall.SIGTSTP || how != "stoppable") {
			signal.Notify(signals, n)
		}
	}
	fmt.Println("ready")
	for s := range signals {
		fmt.Println("got", int(s.(syscall.Signal)))
		if s == syscall.SIGTERM && how != "deaf" {
			os.Exit(0)
		}
	}
}

// orphans starts a process that starts n more and ends, so that they belong to
// process 1; then lets them end and counts those that are not reaped.
func orphans(n int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "middle", strconv.Itoa(n))
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	out, err := cmd.Output()
	left := strings.Fields(string(out))
	if err = errors.Join(err, w.Close()); err != nil || len(left) != n {
		return fmt.Errorf("%d orphans: %w", len(left), err)
	}
	for end := time.Now().Add(patience); len(left) > 0 && time.Now().Before(end); <-time.After(time.Millisecond) {
		if errors.Is(syscall.Kill(number(left[0]), 0), syscall.ESRCH) {
			left = left[1:]
		}
	}
	fmt.Println("left", len(left))
	return nil
}

func daemon() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "lurk")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = w.Close()
	_, err = r.Read(make([]byte, 1)) // it has said that it is there
	return err
}

func middle(n int) error {
	for range n {
		cmd := exec.Command("/proc/self/exe", "leaf")
		cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		fmt.Println(cmd.Process.Pid)
	}
	return nil
}

func list() error {
	dir := os.Getenv("SECRETBOOT_DIR")
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue // the layout's own
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, e.Name()), &st); err != nil {
			return err
		}
		fmt.Printf("%04o %d:%d %s\n", st.Mode&0o7777, st.Uid, st.Gid, e.Name())
	}
	return err
}

func status() error {
	text, err := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp":
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	return err
}

func terminal() error {
	var size unix.Winsize
	for end := time.Now().Add(patience); size.Col == 0 && time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		now, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ) // the engine sets it after the start
		if err != nil {
			return err
		}
		size = *now
	}
	fmt.Printf("ready %dx%d\n", size.Col, size.Row)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Println("read", strings.TrimSpace(line))
	return err
}

// serve answers each line with whether it is the password.
func serve(address string) error {
	want, err := os.ReadFile(os.Getenv("POSTGRES_PASSWORD_FILE"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() { <-signals; os.Exit(0) }()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		answer := "denied"
		if len(want) > 0 && line == string(want)+"\n" {
			answer = "welcome"
		}
		_, err = fmt.Fprintln(c, answer)
		if err = errors.Join(err, c.Close()); err != nil {
			fmt.Fprintln(os.Stderr, "app:", err)
		}
	}
}

// query tells what the database says to the password that was delivered.
func query(address string) error {
	password, err := os.ReadFile(below("db-password"))
	if err != nil {
		return err
	}
	var c net.Conn
	for end := time.Now().Add(patience); c == nil; <-time.After(50 * time.Millisecond) {
		if c, err = net.Dial("tcp", address); err != nil && time.Now().After(end) {
			return err
		}
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "%s\n", password); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	fmt.Print("database: ", answer)
	return err
}
