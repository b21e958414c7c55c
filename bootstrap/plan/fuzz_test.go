package plan_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// FuzzSignal reads names of signals beside x/sys/unix, which has those of the kernel's
// headers, and beside two patterns for the numbers and the real-time signals.
func FuzzSignal(f *testing.F) {
	for _, seed := range []string{"TERM", "SIGTERM", "hup", "RTMIN+3", "RTMAX-30", "RTMIN+31", "RTMIN", "15", "015", "0", "64", "65", "-1", "+1", "19", "32", "STOP", "RTMIN+-1", "1_0", "CLD", "IOT"} {
		f.Add(seed)
	}
	number := regexp.MustCompile(`^0*([0-9]{1,2})$`)
	counted := regexp.MustCompile(`^(RTMIN\+|RTMAX-)0*([0-9]{1,2})$`)
	f.Fuzz(func(t *testing.T, name string) {
		want := int(unix.SignalNum("SIG" + name))
		if m := number.FindStringSubmatch(name); m != nil {
			want, _ = strconv.Atoi(m[1])
		}
		if m := counted.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[2])
			if want = 34 + n; m[1] == "RTMAX-" {
				want = 64 - n
			}
			if n > 30 {
				want = 0
			}
		}
		if n, also := map[string]int{"RTMIN": 34, "RTMAX": 64, "IOT": 6, "POLL": 29}[name]; also {
			want = n
		}
		if want < 1 || want > 64 || want == 19 || want == 32 || want == 33 || name == "STKFLT" { // nobody sends the last one
			want = 0
		}
		got, err := plan.ParseSignal(name)
		if int(got) != want || (err == nil) != (want != 0) {
			t.Fatalf("%q is %d, %v; want %d", name, got, err, want)
		}
	})
}

// FuzzUser: what is read, put together again, is what was written, and neither part
// could be taken for something else by whoever reads it next.
func FuzzUser(f *testing.F) {
	for _, seed := range []string{"0", "1000:1000", "app", "app:", ":app", "a:b:c", "", "a b", "a\n", "-1", "4294967295:0", "ü:ü"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		user, group, ok := plan.SplitUser(s)
		again := user
		if strings.Contains(s, ":") {
			again += ":" + group
		}
		good := !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) &&
			user != "" && strings.Count(s, ":") < 2 && !strings.HasSuffix(s, ":")
		if again != s || ok != good {
			t.Fatalf("%q is %q and %q, %v; want %v", s, user, group, ok, good)
		}
	})
}

// FuzzCapability: a name has one number, whichever way it is written, and that alone is
// its bit.
func FuzzCapability(f *testing.F) {
	for _, seed := range []string{"CAP_CHOWN", "chown", "all", "ALL", "CAP_ALL", "cap_cap_chown", "", "CHECKPOINT_RESTORE", "ſYS_ADMIN"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := plan.ParseCapability(s)
		if !ok {
			return
		}
		other, again := plan.ParseCapability(strings.ToLower(name))
		bits := plan.CapabilityBits([]string{name})
		one := bits != 0 && bits&(bits-1) == 0
		if !again || other != name || name != plan.AllCapabilities && !one || name == plan.AllCapabilities && bits != ^uint64(0) {
			t.Fatalf("%q is %q, and %q then, with bits %x", s, name, other, bits)
		}
		if !strings.EqualFold(s, name) && !strings.EqualFold(s, "CAP_"+name) {
			t.Fatalf("%q is taken for %q", s, name)
		}
	})
}
