package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childMain is the target in the scripts. Its words are carried out in order:
//
//	env NAME        print a variable; "env ." prints all, sorted
//	environ FILE    write all to a file, with NUL between them
//	cat FILE        print a file; relative names are below $SECRETBOOT_DIR
//	ls              print mode and name of the files in $SECRETBOOT_DIR
//	dir             print $SECRETBOOT_DIR's file system and path
//	fd NAME FILE    compare the file that a variable names with another, by path and by descriptor, and try to write to it
//	mount           print the options and the size of the file system it is on
//	pid, ppid       print them
//	say TEXT        print it
//	wait            print ready, then wait for a signal, print it, end with 0
//	orphan          print ready, then wait for the end of its parent
//	deaf            print ready, ignore TERM and wait for ever
//	kill N          send the signal N to itself
//	parent N        send the signal N to its parent
//	exit N          end with N
func childMain() {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	words := os.Args[1:]
	next := func() string {
		if len(words) == 0 {
			return ""
		}
		w := words[0]
		words = words[1:]
		return w
	}
	for len(words) > 0 {
		childWord(next(), next, signals)
	}
}

func childWord(word string, next func() string, signals chan os.Signal) {
	dir := os.Getenv("SECRETBOOT_DIR")
	switch word {
	case "env":
		childEnv(next())
	case "environ":
		if err := os.WriteFile(next(), []byte(strings.Join(os.Environ(), "\x00")), 0o600); err != nil {
			childFail(err)
		}
	case "cat":
		name := next()
		if !strings.HasPrefix(name, "/") {
			name = dir + "/" + name
		}
		text, err := os.ReadFile(name)
		if err != nil {
			childFail(err)
		}
		_, _ = os.Stdout.Write(text)
	case "ls":
		entries, err := os.ReadDir(dir)
		if err != nil {
			childFail(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "..") {
				continue // the layout's own
			}
			info, err := os.Stat(dir + "/" + e.Name())
			if err != nil {
				childFail(err)
			}
			fmt.Println(info.Mode(), e.Name())
		}
	case "dir":
		fmt.Println(dir)
	case "fd":
		childFD(os.Getenv(next()), next())
	case "mount":
		childMount(dir)
	case "pid":
		fmt.Println(os.Getpid())
	case "ppid":
		fmt.Println(os.Getppid())
	case "say":
		fmt.Println(next())
	case "wait":
		fmt.Println("ready")
		fmt.Println("got", <-signals)
	case "orphan":
		fmt.Println("ready")
		for parent := os.Getppid(); os.Getppid() == parent; time.Sleep(10 * time.Millisecond) {
		}
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "kill":
		n, _ := strconv.Atoi(next())
		signal.Reset()
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		select {}
	case "parent":
		n, _ := strconv.Atoi(next())
		_ = syscall.Kill(os.Getppid(), syscall.Signal(n))
	case "exit":
		n, _ := strconv.Atoi(next())
		os.Exit(n)
	default:
		childFail(fmt.Errorf("unknown word %q", word))
	}
}

// childFD prints what it finds of a memfd, without its text.
func childFD(path, file string) {
	want, err := os.ReadFile(file)
	if err != nil {
		childFail(err)
	}
	byPath, err := os.ReadFile(path)
	if err != nil {
		childFail(err)
	}
	fd, err := strconv.Atoi(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil {
		childFail(err)
	}
	f := os.NewFile(uintptr(fd), path)
	byFD, err := io.ReadAll(f)
	if err != nil {
		childFail(err)
	}
	info, err := f.Stat()
	if err != nil {
		childFail(err)
	}
	link, _ := os.Readlink(path)
	_, writeErr := f.WriteAt([]byte("x"), 0)
	fmt.Println(info.Mode(), link, bytes.Equal(want, byPath), bytes.Equal(want, byFD), writeErr, f.Truncate(0), f.Chmod(0o500))
}

func childMount(dir string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		childFail(err)
	}
	var words []string
	for _, f := range []struct {
		bit  int64
		name string
	}{{unix.ST_NOSUID, "nosuid"}, {unix.ST_NODEV, "nodev"}, {unix.ST_NOEXEC, "noexec"}} {
		if st.Flags&f.bit != 0 {
			words = append(words, f.name)
		}
	}
	fmt.Println(strings.Join(words, " "), st.Blocks*uint64(st.Bsize), dir)
}

func childEnv(name string) {
	if name != "." {
		fmt.Println(os.Getenv(name))
		return
	}
	env := os.Environ()
	sort.Strings(env)
	fmt.Println(strings.Join(env, "\n"))
}

func childFail(err error) {
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(99)
}
