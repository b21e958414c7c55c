package vault

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

func TestSaysItselfAndSafe(t *testing.T) {
	m := newMounts(map[string]plan.KVRule{"/kv1/": plan.KV1, "kv2": plan.KV2, "auto": plan.KVAuto})
	m.learn("database", mount{rule: plan.KV1})
	tests := []struct {
		path       string
		says, safe bool
	}{
		{"secret/data/app", true, true},
		{"secret/metadata/app", true, true},
		{"data/app", false, false},
		{"secret/data", false, false},
		{"secret/database/x", false, false},
		{"kv1/app", false, true},
		{"kv2/app", false, true},
		{"auto/app", false, false},
		{"database/creds/app", false, false},
	}
	for _, tt := range tests {
		if saysItself(tt.path) != tt.says || m.safe(tt.path) != tt.safe {
			t.Errorf("%s: says itself %v, safe %v", tt.path, saysItself(tt.path), m.safe(tt.path))
		}
	}
}

func TestLongestMount(t *testing.T) {
	m := newMounts(map[string]plan.KVRule{"a": plan.KV1, "a/b/c": plan.KV2, "ab": plan.KV2})
	for path, want := range map[string]string{
		"a/b/c/d": "a/b/c", "a/b/c": "a/b/c", "a/b/cc": "a", "a/b": "a", "a": "a", "ab/c": "ab", "abc/d": "", "": "",
	} {
		if at, _, ok := m.find(path); at != want || ok != (want != "") {
			t.Errorf("find(%q) = %q, %v", path, at, ok)
		}
	}
}

func TestMountOf(t *testing.T) {
	tests := []struct {
		path, kind, version string
		rule                plan.KVRule
		kv, ok              bool
	}{
		{"secret/", "kv", "2", plan.KV2, true, true},
		{"secret/", "kv", "1", plan.KV1, true, true},
		{"secret/", "kv", "", plan.KV1, true, true},
		{"secret/", "generic", "", plan.KV1, true, true},
		{"pki/", "pki", "", plan.KV1, false, true},
		{"odd/", "pki", "2", plan.KV1, false, true},
		{"", "kv", "2", plan.KVAuto, false, false},
		{"/", "kv", "2", plan.KVAuto, false, false},
	}
	for _, tt := range tests {
		data := map[string]any{"path": tt.path, "type": tt.kind, "options": map[string]any{"version": tt.version}}
		if tt.version == "" {
			data["options"] = nil
		}
		if _, found, ok := mountOf(data); ok != tt.ok || found.rule != tt.rule || found.kv != tt.kv {
			t.Errorf("%+v: %+v, %v", tt, found, ok)
		}
	}
	if _, _, ok := mountOf(nil); ok {
		t.Error("a mount out of nothing")
	}
}

// fakeServer has mounts and secrets. A read of a mount's secret answers with
// its own path as the value.
type fakeServer struct {
	mounts  map[string]string // path with a slash to "kv1", "kv2", "pki"
	secrets map[string]bool   // by the path that is really asked
	denied  map[string]bool   // beginnings of paths that are denied
	untold  bool              // ui/mounts is denied
}

func (f fakeServer) answer(_ int, w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	for d := range f.denied {
		if strings.HasPrefix(path, d) {
			refuse(w, http.StatusForbidden, deniedAnswer)
			return
		}
	}
	if asked, ok := strings.CutPrefix(path, "sys/internal/ui/mounts/"); ok {
		for at, kind := range f.mounts {
			if strings.HasPrefix(asked, at) && !f.untold && !f.denied[at] {
				_, _ = fmt.Fprintf(w, `{"data":{"path":%q,"type":%q,"options":{"version":%q}}}`, at, strings.TrimRight(kind, "12"), strings.TrimPrefix(kind, "kv"))
				return
			}
		}
		refuse(w, http.StatusForbidden, deniedAnswer)
		return
	}
	if !f.secrets[path] {
		refuse(w, http.StatusNotFound, missingAnswer)
		return
	}
	if strings.Contains(path, "/data/") {
		_, _ = io.WriteString(w, strings.Replace(kvAnswer, canary, path, 1))
		return
	}
	_, _ = fmt.Fprintf(w, `{"data":{"pw":%q}}`, path)
}

func TestPathsAsked(t *testing.T) {
	mounts := map[string]string{"kv2/": "kv2", "kv1/": "kv1", "team/a/": "kv2", "team/b/": "kv1", "pki/": "pki"}
	tests := []struct {
		name   string
		reads  []plan.Read
		have   []string // secrets
		untold bool
		denied []string
		want   []string // requests; a last one with "!" in front means an error
	}{
		{"version 2", reads("kv2/x"), list("kv2/data/x"), false, nil, list("ui kv2/x", "kv2/data/x")},
		{"version 1", reads("kv1/x"), list("kv1/x"), false, nil, list("ui kv1/x", "kv1/x")},
		{"no KV", reads("pki/cert/ca"), list("pki/cert/ca"), false, nil, list("ui pki/cert/ca", "pki/cert/ca")},
		{"asked once", reads("kv2/x", "kv2/y/z"), list("kv2/data/x", "kv2/data/y/z"), false, nil, list("ui kv2/x", "kv2/data/x", "kv2/data/y/z")},
		{"two in one element", reads("team/a/x", "team/b/x"), list("team/a/data/x", "team/b/x"), false, nil, list("ui team/a/x", "team/a/data/x", "ui team/b/x", "team/b/x")},
		{"says itself", reads("kv2/data/x"), list("kv2/data/x"), false, nil, list("kv2/data/x")},
		{"says itself, is version 1", reads("kv1/data/x"), list("kv1/data/x"), false, nil, list("kv1/data/x")},
		{"seems to say so", reads("kv2/a/data/x"), list("kv2/data/a/data/x"), false, nil, list("kv2/a/data/x", "ui kv2/a/data/x", "kv2/data/a/data/x")},
		{"is not there", reads("kv2/data/x"), nil, false, nil, list("kv2/data/x", "ui kv2/data/x", "!")},
		{"declared 1", rule(plan.KV1, "kv2/x"), list("kv2/x"), false, nil, list("kv2/x")},
		{"declared literal", rule(plan.KVLiteral, "kv2/x"), list("kv2/x"), false, nil, list("kv2/x")},
		{"declared 2", rule(plan.KV2, "team/a/x"), list("team/a/data/x"), false, nil, list("ui team/a/x", "team/a/data/x")},
		{"declared 2 twice", rule(plan.KV2, "team/b/x", "team/b/y"), list("team/b/data/x", "team/b/data/y"), false, nil, list("ui team/b/x", "team/b/data/x", "team/b/data/y")},
		{"untold, version 2", reads("kv2/x"), list("kv2/data/x"), true, nil, list("ui kv2/x", "kv2/data/x")},
		{"untold, version 1", reads("kv1/x"), list("kv1/x"), true, nil, list("ui kv1/x", "kv1/data/x", "kv1/x")},
		{"untold, asked once in a folder", reads("kv2/x", "kv2/y"), list("kv2/data/x", "kv2/data/y"), true, nil, list("ui kv2/x", "kv2/data/x", "kv2/data/y")},
		{"untold, declared 2", rule(plan.KV2, "kv2/x"), nil, true, nil, list("ui kv2/x", "kv2/data/x", "!")},
		{"untold, missing", reads("kv1/x"), nil, true, nil, list("ui kv1/x", "kv1/data/x", "kv1/x", "!")},
		{"one mount denied, the other not", reads("team/b/x", "team/a/x"), list("team/a/data/x"), false, list("team/b/", "sys/internal/ui/mounts/team/b/"), list("ui team/b/x", "team/data/b/x", "team/b/x", "!", "ui team/a/x", "team/a/data/x")},
		{"slashes around", reads("/kv2/x/"), list("kv2/data/x"), false, nil, list("ui kv2/x", "kv2/data/x")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s := inMemory(t, fakeServer{mounts: mounts, secrets: set(tt.have), denied: set(tt.denied), untold: tt.untold}.answer, nil)
			get := c.Generation()
			var got []string
			for _, r := range tt.reads {
				before := s.count()
				_, err := get(t.Context(), r, nil)
				for _, line := range s.all()[before:] {
					line = strings.TrimPrefix(line, "GET ")
					got = append(got, strings.Replace(line, "sys/internal/ui/mounts/", "ui ", 1))
				}
				if err != nil {
					got = append(got, "!")
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("asked %q, want %q", got, tt.want)
			}
		})
	}
}

func reads(paths ...string) []plan.Read { return rule(plan.KVAuto, paths...) }

func rule(kv plan.KVRule, paths ...string) []plan.Read {
	var out []plan.Read
	for _, p := range paths {
		out = append(out, plan.Read{Path: p, KV: kv})
	}
	return out
}

func list(s ...string) []string { return s }

func set(names []string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

// TestMountsConcurrently asks for many secrets of many mounts at once, told
// and untold, and each twice under two names.
func TestMountsConcurrently(t *testing.T) {
	f := fakeServer{mounts: map[string]string{}, secrets: map[string]bool{}, denied: map[string]bool{}}
	var wanted []string
	for i := range 8 {
		at := fmt.Sprintf("m%d/", i)
		f.mounts[at] = "kv2"
		if i%2 == 1 {
			f.denied["sys/internal/ui/mounts/"+at] = true
		}
		for j := range 8 {
			f.secrets[fmt.Sprintf("%sdata/s%d", at, j)] = true
			wanted = append(wanted, fmt.Sprintf("%ss%d", at, j), fmt.Sprintf("%sdata/s%d", at, j))
		}
	}
	// No mount is told of before all have been asked for, so that what is
	// learnt is learnt at the same time.
	var asked atomic.Int32
	together := make(chan bool)
	c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/ui/mounts/") {
			if asked.Add(1) == 8 {
				close(together)
			}
			<-together
		}
		f.answer(n, w, r)
	}, nil)
	get := c.Generation()
	var wg sync.WaitGroup
	for _, path := range wanted {
		wg.Go(func() {
			got, err := get(t.Context(), plan.Read{Path: path}, nil)
			if err != nil || !got.KV2 {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	wg.Wait()
	times := map[string]int{}
	for _, line := range s.all() {
		line = strings.TrimPrefix(line, "GET ")
		if asked, ok := strings.CutPrefix(line, "sys/internal/ui/mounts/"); ok {
			line = "ui " + asked[:2]
		}
		times[line]++
	}
	for what, n := range times {
		if n != 1 {
			t.Errorf("%s: %d times", what, n)
		}
	}
	if len(times) != 8+64 {
		t.Errorf("%d different requests, want 72", len(times))
	}
}

// TestMountTimeoutIsNoGuess: only a refusal leads to a guess, and only Vault's.
func TestMountTimeoutIsNoGuess(t *testing.T) {
	for _, status := range []int{307, 501} {
		c, s := inMemory(t, always(status, ""), nil)
		if _, err := read(t.Context(), c, "kv2/x"); err == nil || s.count() != 1 {
			t.Errorf("%d: %v after %d requests", status, err, s.count())
		}
	}
	for _, status := range []int{400, 401, 403, 404, 405} {
		c, s := inMemory(t, always(status, "<html>"+canary), nil)
		_, err := read(t.Context(), c, "kv2/x")
		problem(t, err, plan.CodeProtocol, "the answer is not Vault's")
		s.noCanary(t, err)
		if s.count() != 1 {
			t.Errorf("%d: %d requests", status, s.count())
		}
	}
}

// TestBothGuessesRefused: what the two paths of an untold mount say together.
func TestBothGuessesRefused(t *testing.T) {
	both := `path "kv/data/x" { capabilities = ["read"] }; check the namespace too; or, for KV version 1, the same for kv/x`
	tests := []struct {
		denied []string
		code   plan.Code
		want   string
	}{
		{list("kv/"), plan.CodeDenied, both},
		{list("kv/data/"), plan.CodeMissing, "secret kv/x: there is no such secret"},
		{list("kv/x"), plan.CodeMissing, "secret kv/data/x: there is no such secret"},
	}
	for _, tt := range tests {
		c, s := inMemory(t, fakeServer{untold: true, denied: set(tt.denied)}.answer, nil)
		get := c.Generation()
		for range 2 { // the remembered error is not changed
			_, err := get(t.Context(), plan.Read{Path: "kv/x"}, nil)
			problem(t, err, tt.code, tt.want)
			if tt.code == plan.CodeDenied && strings.Count(err.Error(), "kv/x") != 1 {
				t.Errorf("%v: %v", tt.denied, err)
			}
		}
		if s.count() != 3 {
			t.Errorf("%v: %d requests, want 3", tt.denied, s.count())
		}
	}
}

// TestVersionOfWhatHasNone: the newest is not given for the version that was
// asked for.
func TestVersionOfWhatHasNone(t *testing.T) {
	f := fakeServer{mounts: map[string]string{"kv1/": "kv1", "pki/": "pki"}, secrets: set(list("kv1/x", "pki/cert/ca"))}
	for path, rule := range map[string]plan.KVRule{"kv1/x": plan.KVAuto, "/kv1/x/": plan.KV1, "pki/cert/ca": plan.KVLiteral} {
		c, _ := inMemory(t, f.answer, nil)
		get := c.Generation()
		_, err := get(t.Context(), plan.Read{Path: path, KV: rule, Version: 2, Origin: plan.Origin{At: "here"}}, nil)
		problem(t, err, plan.CodeConfig, "secret "+plan.SplitPath(path)+": version 2 was asked for, and only KV version 2 has versions (declared at here)")
		if _, err := get(t.Context(), plan.Read{Path: path, KV: rule}, nil); err != nil {
			t.Errorf("%s without a version: %v", path, err)
		}
	}
}

func TestOperations(t *testing.T) {
	type sent struct{ method, path, query, body string }
	var got sent
	c, _ := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = sent{r.Method, r.URL.Path, r.URL.RawQuery, string(b)}
		data := `{"keys":["a"]}`
		if strings.Contains(r.URL.Path, "/data/") { // only such an answer has versions
			data = `{"data":{"a":"b"},"metadata":{"created_time":"x","version":3}}`
		}
		_, _ = fmt.Fprintf(w, `{"lease_id":"l/%d","data":%s}`, n, data)
	}, nil)
	tests := []struct {
		r    plan.Read
		body map[string]secret.Value
		want sent
	}{
		{plan.Read{Path: "secret/app"}, nil, sent{"GET", "/v1/secret/data/app", "", ""}},
		{plan.Read{Path: "secret/app", Version: 3}, nil, sent{"GET", "/v1/secret/data/app", "version=3", ""}},
		{plan.Read{Path: "secret/metadata/app", Op: plan.OpList}, nil, sent{"GET", "/v1/secret/metadata/app", "list=true", ""}},
		{plan.Read{Path: "pki/issue/web", Op: plan.OpWrite}, map[string]secret.Value{"b": secret.New([]byte("é\n\"<")), "a": secret.New(nil)}, sent{"PUT", "/v1/pki/issue/web", "", `{"a":"","b":"é\n\"\u003c"}`}},
		{plan.Read{Path: "secret/a b%2f?c"}, nil, sent{"GET", "/v1/secret/data/a b%2f?c", "", ""}},
	}
	for i, tt := range tests {
		if _, err := c.Generation()(t.Context(), tt.r, tt.body); err != nil || got != tt.want {
			t.Errorf("%v: sent %+v, want %+v", err, got, tt.want)
		}
		if !c.HasLeases() || len(c.book.leases) != i+1 {
			t.Errorf("%d leases after %d", len(c.book.leases), i+1)
		}
	}
	// A write is never shared, a read is.
	get := c.Generation()
	before := len(c.book.leases)
	for range 2 {
		_, _ = get(t.Context(), plan.Read{Path: "pki/issue/web", Op: plan.OpWrite}, nil)
		_, _ = get(t.Context(), plan.Read{Path: "secret/app"}, nil)
		_, _ = get(t.Context(), plan.Read{Path: "secret/app", Version: 1}, nil)
	}
	if n := len(c.book.leases) - before; n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}
