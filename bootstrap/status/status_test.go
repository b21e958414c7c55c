package status_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/status"
)

var update = flag.Bool("update", false, "write the table of docs/sidecar.md anew")

// clock is a time that a test sets.
type clock struct{ at time.Time }

func newClock() *clock                { return &clock{time.Date(2026, 5, 4, 3, 2, 1, 500e6, time.UTC)} }
func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

// get asks the handler as a client would.
func get(t *testing.T, b *status.Board, method, path string) (*httptest.ResponseRecorder, string) {
	t.Helper()
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("CANARY")))
	return w, w.Body.String()
}

// sample is one line of a metric.
type sample struct{ name, labels, value string }

// samples reads the text format, strictly: each metric has HELP and TYPE before it,
// once, and each series one line.
func samples(t *testing.T, text string) (lines map[string]string, all []sample, help, kind map[string]string) {
	t.Helper()
	lines, help, kind = map[string]string{}, map[string]string{}, map[string]string{}
	line := regexp.MustCompile(`^([a-z_]+)(\{[a-z_]+="[^"\\]*"(?:,[a-z_]+="[^"\\]*")*\})? (-?[0-9]+(?:\.[0-9]+)?)$`)
	head := regexp.MustCompile(`^# (HELP|TYPE) ([a-z_]+) (.+)$`)
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line does not end")
	}
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if m := head.FindStringSubmatch(l); m != nil {
			to := map[string]map[string]string{"HELP": help, "TYPE": kind}[m[1]]
			if to[m[2]] != "" {
				t.Errorf("twice: %s", l)
			}
			to[m[2]] = m[3]
			continue
		}
		m := line.FindStringSubmatch(l)
		if m == nil {
			t.Fatalf("no metric: %q", l)
		}
		if _, twice := lines[m[1]+m[2]]; twice || help[m[1]] == "" || kind[m[1]] == "" {
			t.Errorf("twice, or without HELP and TYPE: %q", l)
		}
		lines[m[1]+m[2]] = m[3]
		all = append(all, sample{m[1], m[2], m[3]})
	}
	return lines, all, help, kind
}

func want(t *testing.T, b *status.Board, values map[string]string) {
	t.Helper()
	_, text := get(t, b, http.MethodGet, "/metrics")
	lines, _, _, _ := samples(t, text)
	for series, value := range values {
		if got, ok := lines[series]; got != value || ok == (value == "") {
			t.Errorf("%s is %q, want %q", series, got, value)
		}
	}
}

func TestReady(t *testing.T) {
	c := newClock()
	b := status.New(c.now)
	ready := func(why string) {
		t.Helper()
		ok, got := b.Ready()
		if ok != (why == "") || got != why {
			t.Errorf("%v, %q; want %q", ok, got, why)
		}
		code, text, metric := http.StatusOK, "ready\n", "1"
		if why != "" {
			code, text, metric = http.StatusServiceUnavailable, "not ready: "+why+"\n", "0"
		}
		if resp, body := get(t, b, http.MethodGet, "/readyz"); resp.Code != code || body != text {
			t.Errorf("/readyz: %d %q", resp.Code, body)
		}
		if resp, body := get(t, b, http.MethodGet, "/livez"); resp.Code != http.StatusOK || body != "alive\n" {
			t.Errorf("/livez: %d %q", resp.Code, body)
		}
		want(t, b, map[string]string{"secretboot_ready": metric})
	}
	ready("nothing was delivered yet")
	b.Expires(c.at.Add(time.Minute))
	ready("nothing was delivered yet")
	b.Delivered(true)
	ready("")
	c.pass(time.Minute - 1)
	ready("")
	c.pass(1)
	ready("something that was delivered has expired")
	b.Delivered(false) // the same bytes, which live longer now
	b.Expires(c.at.Add(time.Minute))
	ready("")
	b.Expires(time.Time{})
	c.pass(time.Hour)
	ready("")
	b.Ended()
	ready("it is ending")
	b.Delivered(true)
	ready("it is ending")
}

func TestCounts(t *testing.T) {
	c := newClock()
	b := status.New(c.now)
	want(t, b, map[string]string{
		"secretboot_generations_total": "0", "secretboot_generation_timestamp_seconds": "", "secretboot_next_expiry_seconds": "",
		`secretboot_reads_total{class="ok"}`: "0", `secretboot_read_errors_total{class="denied"}`: "0", `secretboot_read_errors_total{class="ok"}`: "",
	})
	b.Delivered(true)
	c.pass(time.Second)
	b.Delivered(false)
	b.Expires(c.at.Add(90500 * time.Millisecond))
	b.Read("")
	b.Read("")
	b.Read("denied")
	b.Read("CANARY")
	b.Renewed("token", "")
	b.Renewed("lease", "missing")
	b.Renewed("CANARY", "")
	b.Login("unavailable")
	b.Acted("restart", true)
	b.Acted("restart", false)
	b.Acted("signal", true)
	b.Acted("CANARY", true)
	values := map[string]string{
		"secretboot_generations_total": "1", "secretboot_generation_timestamp_seconds": "1777863721.5", "secretboot_next_expiry_seconds": "90.5",
		`secretboot_reads_total{class="ok"}`: "2", `secretboot_reads_total{class="denied"}`: "1", `secretboot_reads_total{class="other"}`: "1",
		`secretboot_read_errors_total{class="denied"}`: "1", `secretboot_read_errors_total{class="other"}`: "1", `secretboot_read_errors_total{class="data"}`: "0",
		`secretboot_renewals_total{what="token",class="ok"}`: "1", `secretboot_renewals_total{what="lease",class="missing"}`: "1",
		`secretboot_renewals_total{what="lease",class="ok"}`: "0", `secretboot_logins_total{class="unavailable"}`: "1",
		`secretboot_actions_total{kind="restart",result="ok"}`: "1", `secretboot_actions_total{kind="restart",result="failed"}`: "1",
		`secretboot_actions_total{kind="signal",result="ok"}`: "1", "secretboot_restarts_total": "1",
	}
	want(t, b, values)
	c.pass(2 * time.Minute)
	want(t, b, map[string]string{"secretboot_next_expiry_seconds": "-29.5", "secretboot_ready": "0"})
	if _, text := get(t, b, http.MethodGet, "/metrics"); strings.Contains(text, "CANARY") {
		t.Errorf("a word that is none of ours is shown:\n%s", text)
	}
}

// The classes are those of the codes, and each of them is counted by itself.
func TestClass(t *testing.T) {
	b := status.New(time.Now)
	for code, class := range map[plan.Code]string{
		plan.CodeDenied: "denied", plan.CodeMissing: "missing", plan.CodeUnavailable: "unavailable", plan.CodeProtocol: "protocol",
		plan.CodeData: "data", plan.CodeBug: "other", plan.CodeConfig: "other", 0: "other",
	} {
		if got := status.Class(code); got != class {
			t.Errorf("%d: %s", code, got)
		}
	}
	b.Login(status.Class(plan.CodeProtocol))
	want(t, b, map[string]string{`secretboot_logins_total{class="protocol"}`: "1", `secretboot_logins_total{class="other"}`: "0"})
}

func TestHandlerRefuses(t *testing.T) {
	b := status.New(time.Now)
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{http.MethodPost, "/readyz", 405},
		{http.MethodDelete, "/metrics", 405},
		{"CANARY", "/livez", 405},
		{http.MethodOptions, "/livez", 405},
		{http.MethodGet, "/", 404},
		{http.MethodGet, "/CANARY", 404},
		{http.MethodGet, "/readyz/", 404},
		{http.MethodPost, "/x", 404},
		{http.MethodGet, "//readyz", 404},
		{http.MethodGet, "/debug/pprof/", 404},
		{http.MethodGet, "/x/../readyz", 404},
		{http.MethodGet, "/livez?CANARY=1", 200},
		{http.MethodHead, "/readyz", 503},
		{http.MethodHead, "/metrics", 200},
	} {
		resp, body := get(t, b, c.method, c.path)
		if resp.Code != c.code || strings.Contains(body+fmt.Sprint(resp.Header()), "CANARY") {
			t.Errorf("%s %s: %d %q %v", c.method, c.path, resp.Code, body, resp.Header())
		}
		if allow := resp.Header().Get("Allow"); (allow == "GET, HEAD") != (c.code == 405) {
			t.Errorf("%s %s: Allow is %q", c.method, c.path, allow)
		}
	}
}

// What Prometheus' scraper goes by.
func TestContentType(t *testing.T) {
	resp, _ := get(t, status.New(time.Now), http.MethodGet, "/metrics")
	if got := resp.Header().Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Error(got)
	}
}

func TestProcessMetrics(t *testing.T) {
	metric := func(name string) float64 {
		_, text := get(t, status.New(time.Now), http.MethodGet, "/metrics")
		lines, _, _, _ := samples(t, text)
		n, err := strconv.ParseFloat(lines[name], 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if rss := metric("process_resident_memory_bytes"); rss < 1<<20 || rss > 1<<32 {
		t.Errorf("%v bytes", rss)
	}
	before := metric("process_open_fds")
	for range 3 {
		file, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}
	if now := metric("process_open_fds"); now != before+3 {
		t.Errorf("%v descriptors, and %v before", now, before)
	}
}

func TestConcurrent(t *testing.T) {
	b := status.New(time.Now)
	var wg sync.WaitGroup
	const workers, each = 8, 100
	for range workers {
		wg.Go(func() {
			for range each {
				b.Read("")
				b.Delivered(true)
				b.Expires(time.Now().Add(time.Hour))
				_, _ = get(t, b, http.MethodGet, "/metrics")
			}
		})
	}
	wg.Wait()
	want(t, b, map[string]string{`secretboot_reads_total{class="ok"}`: strconv.Itoa(workers * each), "secretboot_generations_total": strconv.Itoa(workers * each)})
}

// TestMetricsDocumented holds the table of docs/sidecar.md to what is shown.
func TestMetricsDocumented(t *testing.T) {
	const page = "../../docs/sidecar.md"
	b := status.New(time.Now)
	b.Delivered(true)
	b.Expires(time.Now())
	_, text := get(t, b, http.MethodGet, "/metrics")
	_, all, help, kind := samples(t, text)
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for i, s := range all {
		if i > 0 && all[i-1].name == s.name {
			continue
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", s.name, kind[s.name], labelNames(s.labels), help[s.name])
	}
	doc, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), "<!-- metrics -->\n")
	end := strings.Index(rest, "\n\n") + 1
	if !ok || end == 0 {
		t.Fatal("the page has no <!-- metrics -->")
	}
	if rest[:end] == table.String() {
		return
	}
	if !*update {
		t.Fatalf("the table of metrics is stale; run go test ./bootstrap/status -update")
	}
	if err := os.WriteFile(page, []byte(head+"<!-- metrics -->\n"+table.String()+rest[end:]), 0o644); err != nil {
		t.Fatal(err)
	}
}

func labelNames(labels string) string {
	var names []string
	for _, m := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(labels, -1) {
		names = append(names, "`"+m[1]+"`")
	}
	return strings.Join(names, ", ")
}
