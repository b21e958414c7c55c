package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/process/mask"
)

// rotating is a session whose secret and token are others in each generation.
type rotating struct {
	emptyVault
	value, token string
}

func (r *rotating) Generation() readFunc {
	return func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
		return secret.Secret{Data: secret.NewTree(map[string]any{"v": r.value, "short": "abc"})}, nil
	}
}

func (r *rotating) Token() secret.Value { return secret.New([]byte(r.token)) }

// TestMaskingLearns: each generation's values are hidden when its delivery begins,
// and those of the ones before stay hidden. What cannot be hidden is told once.
func TestMaskingLearns(t *testing.T) {
	var logged, shown bytes.Buffer
	a := &app{masks: newMasking()}
	session := &rotating{}
	d := bootstrap.Deps{
		Vault: func() (bootstrap.Vault, error) { return session, nil },
		Log:   slog.New(slog.NewTextHandler(&logged, nil)),
	}
	a.learnFrom(plan.Run{Mask: plan.Set(plan.MaskOn, plan.Origin{})}, &d)
	v, err := d.Vault()
	if err != nil {
		t.Fatal(err)
	}
	out := a.masks.set.Writer(&shown, nil)
	for _, generation := range []string{"first", "second", "third"} {
		session.value, session.token = "CANARY-"+generation, "token-CANARY-"+generation
		read := v.Generation()
		for range 2 {
			if _, err := read(t.Context(), plan.Read{Path: "secret/app"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		d.Made([]bootstrap.Made{{Name: "V", Content: secret.New([]byte("made-CANARY-" + generation))}})
		if left := a.masks.known.take(); len(left) > 0 {
			t.Errorf("%d values are still kept", len(left))
		}
		for _, text := range []string{"CANARY-first", session.value, session.token, "made-CANARY-" + generation, "CANARY-other\n"} {
			_, _ = out.Write([]byte(text + " "))
		}
	}
	_ = out.Close()
	if got, want := shown.String(), strings.Repeat("*** *** *** *** CANARY-other\n ", 3); got != want {
		t.Errorf("shown: %q, want %q", got, want)
	}
	if n := strings.Count(logged.String(), "secret=secret/app#short"); n != 1 || strings.Contains(logged.String(), "CANARY") {
		t.Errorf("told %d times, want once:\n%s", n, &logged)
	}
}

// TestMaskingOff: nothing is learned where nothing is masked.
func TestMaskingOff(t *testing.T) {
	a := &app{masks: newMasking()}
	var d bootstrap.Deps
	a.learnFrom(plan.Run{}, &d)
	if d.Vault != nil || d.Made != nil {
		t.Error("something is learned")
	}
}

func TestInCI(t *testing.T) {
	for value, want := range map[string]bool{"": false, "false": false, "False": false, "0": false, "true": true, "1": true, "woodpecker": true} {
		a := &app{environ: []string{"CI=" + value}}
		if got := a.inCI(); got != want {
			t.Errorf("CI=%s: %v", value, got)
		}
	}
	if (&app{}).inCI() {
		t.Error("CI is not set")
	}
}

// TestMaskedLines: each line of ours is masked by itself: the start of a secret at
// its end is not held back, and two halves in two lines are none.
func TestMaskedLines(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	set, _ := mask.New(mask.Options{}, mask.Secret{Name: "a", Value: []byte("CANARY-value")})
	m := &masked{set: set, to: &patient{to: w}}
	for _, line := range []string{"one CANARY-value\n", "two CANARY-", "value\n"} {
		if n, err := m.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	_ = w.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil || got.String() != "one ***\ntwo CANARY-value\n" {
		t.Errorf("%q, %v", got.String(), err)
	}
}

// TestLeaks: one report for each secret and stream, the first place and how often.
func TestLeaks(t *testing.T) {
	m := newMasking()
	for _, h := range []struct {
		stream string
		hit    mask.Hit
	}{
		{"stdout", mask.Hit{Name: "a", Kind: "base64", Line: 3}},
		{"stderr", mask.Hit{Name: "a", Kind: "literal", Line: 1}},
		{"stdout", mask.Hit{Name: "a", Kind: "literal", Line: 9}},
		{"stdout", mask.Hit{Name: "b", Kind: "literal", Line: 9}},
	} {
		m.found(h.stream, h.hit)
	}
	ps := m.problems()
	want := []string{
		"secret a: it was printed on stdout 2 times, first in line 3 (base64), masked",
		"secret a: it was printed on stderr once in line 1 (literal), masked",
		"secret b: it was printed on stdout once in line 9 (literal), masked",
	}
	if len(ps) != len(want) {
		t.Fatalf("%v", ps)
	}
	for i := range want {
		if !strings.HasPrefix(ps[i].Error(), want[i]) || ps[i].Code != plan.CodeLeak {
			t.Errorf("%v, want %s", ps[i], want[i])
		}
	}
}
