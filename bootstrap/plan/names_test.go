package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestFormatNames: every format has a name of its own that is read back; only
// FormatAuto, which is the absence of one, is not.
func TestFormatNames(t *testing.T) {
	names := plan.FormatNames()
	if !slices.IsSorted(names) || len(names) != int(plan.FormatResponse) {
		t.Errorf("%q", names)
	}
	for f := plan.FormatAuto; f <= plan.FormatResponse; f++ {
		got, ok := plan.ParseFormat(f.String())
		if want := f != plan.FormatAuto; ok != want || want && got != f {
			t.Errorf("%s: %v, %v", f, got, ok)
		}
	}
	if _, ok := plan.ParseFormat("unknown"); ok {
		t.Error("an unknown name is read")
	}
	if name := plan.Format(99).String(); name != "unknown" {
		t.Error(name)
	}
}

// TestKeystoreShown: a plan tells where the password of a keystore is found.
func TestKeystoreShown(t *testing.T) {
	ref := plan.Ref{
		Read: plan.Read{Path: "pki/issue/web"}, Format: plan.FormatPKCS12,
		KeystorePassword: &plan.Handle{Kind: plan.HandleEnv, Name: "PASSWORD"},
	}
	v := plan.NewView(plan.Plan{Files: []plan.File{{Path: "a", Source: plan.Source{Ref: &ref}}}})
	if got, want := v.Files[0].Source.String(), "pki/issue/web as pkcs12 with the password in env:PASSWORD"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPeriod(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "1m30s", 5 * time.Minute: "5m", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s",
		1500 * time.Millisecond: "1.5s", 10 * time.Second: "10s", 20 * time.Minute: "20m",
	} {
		got := plan.Period(d)
		if back, err := time.ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("%v: got %s, want %s (%v)", d, got, want, err)
		}
	}
}
