package plan

import (
	"slices"
	"time"
)

// String gives read, write or list.
func (o Op) String() string { return nth(int(o), "read", "write", "list") }

// decodeNames has the encodings by the name they have in a declaration, in
// the order of their constants.
func decodeNames() []string { return []string{"none", "base64", "base64url", "hex", "auto"} }

// DecodeNames lists the names that ParseDecode knows.
func DecodeNames() []string { return decodeNames() }

// ParseDecode reads the name of an encoding.
func ParseDecode(s string) (Decode, bool) {
	i, ok := position(s, decodeNames())
	return Decode(i), ok
}

// String gives the name of the encoding.
func (d Decode) String() string { return nth(int(d), decodeNames()...) }

// RunModeNames lists the names that ParseRunMode knows.
func RunModeNames() []string { return []string{"auto", "replace", "supervise"} }

// ParseRunMode reads the name of a mode.
func ParseRunMode(s string) (RunMode, bool) {
	i, ok := position(s, RunModeNames())
	return RunMode(i), ok
}

// String gives the name of the mode.
func (m RunMode) String() string { return nth(int(m), RunModeNames()...) }

// String gives auto, on or off.
func (m Mask) String() string { return nth(int(m), "auto", "on", "off") }

// String gives auto, on or off.
func (p PTY) String() string { return nth(int(p), "auto", "on", "off") }

// String gives the action as it is written in a configuration file, with the
// program of an exec action alone: its arguments may hold a secret.
func (a Action) String() string {
	text := nth(int(a.Kind), "none", "signal", "restart", "exec")
	switch {
	case a.Kind == ActionSignal:
		text += ":" + a.Signal
	case a.Kind == ActionExec && len(a.Argv) > 0:
		text += ":" + a.Argv[0]
	}
	if a.Timeout > 0 {
		text += " within " + a.Timeout.Round(time.Millisecond).String()
	}
	return text
}

func nth(i int, names ...string) string {
	if i < len(names) {
		return names[i]
	}
	return "unknown"
}

func position(s string, names []string) (int, bool) {
	i := slices.Index(names, s)
	return max(i, 0), i >= 0
}
