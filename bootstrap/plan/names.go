package plan

import (
	"slices"
	"strings"
	"time"
)

// String gives read, write or list.
func (o Op) String() string { return nth(int(o), "read", "write", "list") }

// formatNames has the formats by the name they have in a declaration, in the
// order of their constants.
func formatNames() []string {
	return []string{
		"auto", "raw", "json", "yaml", "toml", "dotenv", "docker-env", "systemd-env", "export", "properties",
		"github-env", "github-output", "pem-bundle", "pkcs12", "files", "response",
	}
}

// FormatNames lists the names that ParseFormat knows, sorted. FormatAuto is the
// absence of a name.
func FormatNames() []string { return slices.Sorted(slices.Values(formatNames()[1:])) }

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, bool) {
	i, ok := position(s, formatNames()[1:])
	if !ok {
		return FormatAuto, false
	}
	return Format(i + 1), true
}

// String gives the name of the format; "auto" for FormatAuto.
func (f Format) String() string { return nth(int(f), formatNames()...) }

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

// LevelNames lists the names that ParseLevel knows.
func LevelNames() []string { return []string{"fields", "nested", "metadata"} }

// ParseLevel reads the name of a level.
func ParseLevel(s string) (Level, bool) {
	i, ok := position(s, LevelNames())
	return Level(i), ok
}

// String gives the name of the level.
func (l Level) String() string { return nth(int(l), LevelNames()...) }

// SelectNames lists the names that ParseSelect knows.
func SelectNames() []string { return []string{"key", "path", "template", "tracking"} }

// ParseSelect reads the name of a way to look a field up.
func ParseSelect(s string) (Select, bool) {
	i, ok := position(s, SelectNames())
	return Select(i), ok
}

// String gives the name of the way.
func (s Select) String() string { return nth(int(s), SelectNames()...) }

// DialectNames lists the names that ParseDialect knows.
func DialectNames() []string { return []string{"consul-template", "external-secrets", "bank-vaults"} }

// ParseDialect reads the name of a template language.
func ParseDialect(s string) (Dialect, bool) {
	i, ok := position(s, DialectNames())
	return Dialect(i), ok
}

// String gives the name of the language.
func (d Dialect) String() string { return nth(int(d), DialectNames()...) }

// MissingNames lists the names that ParseMissing knows.
func MissingNames() []string { return []string{"strict", "error", "whole"} }

// ParseMissing reads the name of a policy for what is missing.
func ParseMissing(s string) (Missing, bool) {
	i, ok := position(s, MissingNames())
	return Missing(i), ok
}

// String gives the name of the policy.
func (m Missing) String() string { return nth(int(m), MissingNames()...) }

// ConvertNames lists the names that ParseConvert knows.
func ConvertNames() []string { return []string{"none", "default", "unicode"} }

// ParseConvert reads the name of a conversion.
func ParseConvert(s string) (Convert, bool) {
	i, ok := position(s, ConvertNames())
	return Convert(i), ok
}

// String gives the name of the conversion.
func (c Convert) String() string { return nth(int(c), ConvertNames()...) }

// MountNames lists the names that ParseMount knows.
func MountNames() []string { return []string{"shared", "private"} }

// ParseMount reads the name of a mount.
func ParseMount(s string) (Mount, bool) {
	i, ok := position(s, MountNames())
	return Mount(i), ok
}

// String gives shared or private.
func (m Mount) String() string { return nth(int(m), MountNames()...) }

// ExpiryNames lists the names that ParseExpiry knows.
func ExpiryNames() []string { return []string{"keep", "shred", "stop"} }

// ParseExpiry reads the name of what follows an expiry.
func ParseExpiry(s string) (Expiry, bool) {
	i, ok := position(s, ExpiryNames())
	return Expiry(i), ok
}

// String gives keep, shred or stop.
func (e Expiry) String() string { return nth(int(e), ExpiryNames()...) }

// RunModeNames lists the names that ParseRunMode knows.
func RunModeNames() []string { return []string{"auto", "replace", "supervise"} }

// ParseRunMode reads the name of a mode.
func ParseRunMode(s string) (RunMode, bool) {
	i, ok := position(s, RunModeNames())
	return RunMode(i), ok
}

// NotVariable says why a name is none that a POSIX shell has for a variable (XBD
// section 3.216 of POSIX.1-2024, "Name"); "" when it is one.
func NotVariable(name string) string {
	letter := func(r rune) bool { return r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }
	digit := func(r rune) bool { return '0' <= r && r <= '9' }
	switch {
	case name == "":
		return "its name is empty"
	case strings.ContainsFunc(name, func(r rune) bool { return !letter(r) && !digit(r) }):
		return "the name of a variable has only letters, digits and _"
	case digit(rune(name[0])):
		return "the name of a variable does not begin with a digit"
	}
	return ""
}

// DuplicateNames lists the names that ParseDuplicate knows.
func DuplicateNames() []string { return []string{"error", "keep", "overwrite"} }

// ParseDuplicate reads the name of a policy.
func ParseDuplicate(s string) (Duplicate, bool) {
	i, ok := position(s, DuplicateNames())
	return Duplicate(i), ok
}

// String gives the name of the policy.
func (d Duplicate) String() string { return nth(int(d), DuplicateNames()...) }

// String gives the name of the mode.
func (m RunMode) String() string { return nth(int(m), RunModeNames()...) }

// SwitchNames lists the names that ParseMask and ParsePTY know.
func SwitchNames() []string { return []string{"auto", "on", "off"} }

// ParseMask reads auto, on or off.
func ParseMask(s string) (Mask, bool) {
	i, ok := position(s, SwitchNames())
	return Mask(i), ok
}

// ParsePTY reads auto, on or off.
func ParsePTY(s string) (PTY, bool) {
	i, ok := position(s, SwitchNames())
	return PTY(i), ok
}

// String gives auto, on or off.
func (m Mask) String() string { return nth(int(m), SwitchNames()...) }

// String gives auto, on or off.
func (p PTY) String() string { return nth(int(p), SwitchNames()...) }

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

// Period writes a duration without the units that are zero at its end: 5m and
// not 5m0s. time.ParseDuration reads it.
func Period(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
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
