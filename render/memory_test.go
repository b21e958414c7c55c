package render

import (
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestMemory: a write whose body has the time and a fresh hash in it is asked
// for once, and two calls in one execution still differ.
func TestMemory(t *testing.T) {
	clock := testClock()
	tick := func() time.Time { clock = clock.Add(time.Second); return clock }
	text := `{{ $a := bcrypt "x" }}{{ $b := bcrypt "x" }}{{ (secret "w" (print "hash=" $a) (print "at=" (timestamp))).Data.k }}{{ if ne $a $b }} differ{{ end }}`
	p, err := new(Language).compile(plan.Template{Text: text}, testOrigin(), tick)
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Answers: Answers{}, Memory: &Memory{}}
	first, err := p.Execute(t.Context(), in)
	if err != nil || len(first.Lacking) != 1 {
		t.Fatalf("%d needs, %v", len(first.Lacking), err)
	}
	in.Answers[first.Lacking[0].Key()] = answersOf(t, `{"w": {"k": "v"}}`)["read w"]
	second, err := p.Execute(t.Context(), in)
	if err != nil || len(second.Lacking) > 0 || string(second.Bytes.Reveal()) != "v differ" {
		t.Errorf("%q, %d needs, %v", second.Bytes.Reveal(), len(second.Lacking), err)
	}
	in.Memory = nil
	if third, err := p.Execute(t.Context(), in); err != nil || len(third.Lacking) != 1 {
		t.Errorf("without a memory: %d needs, %v", len(third.Lacking), err)
	}
}
