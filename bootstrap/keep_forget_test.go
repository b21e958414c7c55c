package bootstrap_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestForgotten: what is never read again is not kept; what may be needed is.
func TestForgotten(t *testing.T) {
	never := plan.Refresh{Every: plan.Set(time.Duration(0), from("refresh.every"))}
	kv := &engine{kind: "kv2", version: 1, data: map[string]any{"pw": "CANARY"}}
	tests := []struct {
		name    string
		engine  *engine
		refresh plan.Refresh
		more    func(*plan.Plan)
		kept    bool
	}{
		{name: "never read again", engine: kv, refresh: never},
		{name: "read again", engine: kv, kept: true},
		{name: "a lease", engine: &engine{kind: "dynamic", ttl: time.Hour, max: 2 * time.Hour}, refresh: never, kept: true},
		{name: "another is read again", engine: kv, refresh: never, kept: true, more: func(p *plan.Plan) {
			other := variable("OTHER", "other#pw")
			other.Refresh.Every = plan.Set(time.Minute, from("other"))
			p.Env = append(p.Env, other)
		}},
		{name: "the token is delivered", engine: kv, refresh: never, kept: true, more: func(p *plan.Plan) {
			p.Files = append(p.Files, plan.File{Path: "token", Source: plan.Source{Token: true}, Origin: from("token")})
		}},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T, w *world, s *server) {
			s.engines["app"], s.engines["other"] = tt.engine, kv
			field := "pw"
			if tt.engine.kind == "dynamic" {
				field = "id"
			}
			p := plan.Plan{Refresh: tt.refresh, Env: []plan.Env{variable("PW", "app#"+field)}}
			if tt.more != nil {
				tt.more(&p)
			}
			var delivered []byte
			before := func(v []byte) { delivered = v }
			k := keepFrom(t, w, s, p, before)
			synctest.Wait()
			wiped := len(bytes.Trim(delivered, "\x00")) == 0
			if len(delivered) == 0 || wiped == tt.kept {
				t.Errorf("delivered %d bytes, wiped: %v", len(delivered), wiped)
			}
			_ = k.stop()
		})
	}
}
