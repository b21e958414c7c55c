package plan

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestParseSignal(t *testing.T) {
	for name, want := range map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "IO": syscall.SIGPOLL,
		"RTMIN": 34, "RTMIN+3": 37, "RTMIN+30": 64, "RTMAX": 64, "RTMAX-1": 63, "RTMAX-30": 34, "1": 1, "64": 64,
	} {
		if got, err := ParseSignal(name); got != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", name, got, err, want)
		}
	}
	for name, want := range map[string]error{
		"": ErrNoSignal, "hup": ErrNoSignal, "SIGHUP": ErrNoSignal, "HUP ": ErrNoSignal, "0": ErrNoSignal, "65": ErrNoSignal, "-1": ErrNoSignal,
		"+1": ErrNoSignal, "128": ErrNoSignal, "RTMIN+31": ErrNoSignal, "RTMIN+-1": ErrNoSignal, "RTMIN-1": ErrNoSignal, "RTMAX-31": ErrNoSignal,
		"RTMIN+": ErrNoSignal, "STOP": ErrStops, strconv.Itoa(int(syscall.SIGSTOP)): ErrStops, "32": ErrOfLibraryC, "33": ErrOfLibraryC, "CANARY": ErrNoSignal,
	} {
		got, err := ParseSignal(name)
		if got != 0 || !errors.Is(err, want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: %d, %v; want %v", name, got, err, want)
		}
	}
}
