// Command measure runs one command and writes what it cost to a file: wall
// time, CPU time (user and system), peak resident memory in bytes, exit status.
//
//	measure RESULT COMMAND [ARG…]
//
// It is a process of its own because Linux carries the peak memory of whoever
// forks over into the new process and through execve (ru_maxrss, getrusage(2)):
// started by the benchmark itself, every contestant would seem to need at least
// what the benchmark needs. A program as small as this one has nothing to add.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(result string, argv []string) error {
	start := time.Now()
	child, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	state, err := child.Wait()
	if err != nil {
		return err
	}
	wall := time.Since(start)
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return fmt.Errorf("no rusage for %s", argv[0])
	}
	const kib = 1024 // ru_maxrss is in KiB on Linux
	line := fmt.Sprintf("%d %d %d %d\n", wall, state.UserTime()+state.SystemTime(), usage.Maxrss*kib, state.ExitCode())
	return os.WriteFile(result, []byte(line), 0o600)
}
