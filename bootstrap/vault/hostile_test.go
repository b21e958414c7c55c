package vault

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestLoneSurrogate: half of a pair would change a password silently.
func TestLoneSurrogate(t *testing.T) {
	for text, good := range map[string]bool{
		`pass\ud800word`:     false,
		`\udc00`:             false,
		`\ud83d\ude0`:        false,
		`\ud83d\u0041`:       false,
		`\uD83D\uDE00`:       true,
		`\\ud800`:            true,
		`\\\ud800`:           false,
		`\u00e9`:             true,
		`\ud83d\ude00\ude00`: false,
	} {
		_, err := decode([]byte(`{"data":{"k":"` + text + `"}}`))
		if (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestSwitchedProtocols: the body of a 101 is the connection, which no context
// would end.
func TestSwitchedProtocols(t *testing.T) {
	c, _ := inMemory(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "x")
		w.WriteHeader(http.StatusSwitchingProtocols)
	}, nil)
	_, err := c.Generation()(t.Context(), plan.Read{Path: "secret/app", KV: plan.KVLiteral}, nil)
	problem(t, err, plan.CodeProtocol, "it leaves HTTP")
}

// TestForeignMount: a mount that the path is not in must not send us elsewhere.
func TestForeignMount(t *testing.T) {
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"data":{"path":"../../sys/","type":"kv","options":{"version":"2"}}}`))
	}, nil)
	c.kv = newMounts(nil)
	_, err := c.Generation()(t.Context(), plan.Read{Path: "team/app"}, nil)
	problem(t, err, plan.CodeProtocol, "a mount that the path is not in")
	if s.count() != 1 {
		t.Errorf("%d requests", s.count())
	}
}

// TestLingering: a login under way outlives the context, but not for long.
func TestLingering(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	longer, stop := lingering(ctx)
	defer stop()
	cancel()
	if longer.Err() != nil {
		t.Fatal("it ended with its parent")
	}
	select {
	case <-longer.Done():
	case <-time.After(2 * loginLinger):
		t.Fatal("it does not end")
	}
}
