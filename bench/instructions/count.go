package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// counting runs a command with an environment in a folder, and gives how many
// instructions it took in user space.
type counting func(ctx context.Context, dir string, env, argv []string) (float64, error)

// counter finds out which of the two can count here.
func counter(ctx context.Context) (counting, error) {
	for _, c := range []counting{withPerf, withValgrind} {
		if n, err := c(ctx, "/", os.Environ(), []string{"/bin/true"}); err == nil && n > 0 {
			return c, nil
		}
	}
	return nil, errNoCounter
}

// withPerf has the processor count, children included (perf-stat(1)).
func withPerf(ctx context.Context, dir string, env, argv []string) (float64, error) {
	said, err := output(ctx, dir, env, append([]string{"perf", "stat", "-x,", "-e", "instructions:u", "--"}, argv...))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(said) {
		if fields := strings.Split(line, ","); len(fields) > 2 && strings.HasPrefix(fields[2], "instructions") {
			return strconv.ParseFloat(fields[0], 64) // "<not supported>" is an error
		}
	}
	return 0, errors.New("perf has counted nothing")
}

// withValgrind counts on a processor that valgrind makes up. Callgrind, which would
// name functions too, falls over the signals of Go's scheduler.
func withValgrind(ctx context.Context, dir string, env, argv []string) (float64, error) {
	said, err := output(ctx, dir, env, append([]string{"valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"}, argv...))
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`I +refs: +([0-9,]+)`).FindStringSubmatch(said)
	if m == nil {
		return 0, errors.New("valgrind has counted nothing")
	}
	return strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
}

// output gives what a command writes to standard error, where both counters write.
func output(ctx context.Context, dir string, env, argv []string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return said.String(), nil
}
