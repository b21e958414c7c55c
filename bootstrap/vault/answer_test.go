package vault

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// strange are complete answers with status 200 that are not Vault's.
var strange = []struct{ name, body, why string }{
	{"empty", "", "the answer is empty"},
	{"HTML", "<html><body>" + canary + "</body></html>", "it is not JSON"},
	{"cut JSON", kvAnswer[:len(kvAnswer)-2], "it is not JSON"},
	{"trailing bytes", kvAnswer + "<script>" + canary, "something follows"},
	{"two values", kvAnswer + kvAnswer, "something follows"},
	{"invalid UTF-8", `{"data":{"pw":"` + canary + "\xff\xfe" + `"}}`, "not valid UTF-8"},
	{"byte order mark", "\ufeff" + kvAnswer, "it is not JSON"},
	{"array", `["` + canary + `"]`, "it is not JSON"},
	{"null", "null", "it is not JSON"},
	{"text", `"` + canary + `"`, "it is not JSON"},
	{"number", "1", "it is not JSON"},
	{"data of another type", `{"data":"` + canary + `"}`, "it is not JSON"},
	{"UTF-16", "{\x00\"\x00d\x00", "it is not JSON"},
}

func TestStrangeAnswers(t *testing.T) {
	for _, tt := range strange {
		c, s := inMemory(t, always(200, tt.body), nil)
		_, err := read(t.Context(), c, "secret/app")
		problem(t, err, plan.CodeProtocol, tt.why)
		s.noCanary(t, err)

		c, s = inMemory(t, always(200, tt.body), appRoleOptions)
		err = c.Login(t.Context())
		problem(t, err, plan.CodeProtocol, tt.why)
		s.noCanary(t, err)
		if s.count() != 1 {
			t.Errorf("%s: the login was sent %d times", tt.name, s.count())
		}
	}
}

func TestNoContent(t *testing.T) {
	noContent := func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	c, _ := inMemory(t, noContent, nil)
	_, err := read(t.Context(), c, "secret/app")
	problem(t, err, plan.CodeProtocol, "the answer is empty")
	c, _ = inMemory(t, noContent, appRoleOptions)
	problem(t, c.Login(t.Context()), plan.CodeProtocol, "the answer is empty")
}

func TestAnswerWithoutData(t *testing.T) {
	for _, body := range []string{"{}", `{"warnings":["x"]}`, `{"errors":["x"]}`, `{"data":null}`} {
		c, _ := inMemory(t, always(200, body), nil)
		_, err := read(t.Context(), c, "secret/app")
		problem(t, err, plan.CodeProtocol, "the answer holds no data")
	}
}

// allocated gives how many bytes were allocated while f ran, garbage included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestHugeAnswers: what is read is bounded, also for the body of an error, and
// also when the server says beforehand that it is too much.
func TestHugeAnswers(t *testing.T) {
	const size = 512 << 20
	pour := func(w io.Writer) {
		block := bytes.Repeat([]byte("a"), 1<<20)
		_, _ = io.WriteString(w, `{"data":{"pw":"`+canary)
		for range size / len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	tests := map[string]struct {
		h    handler
		most uint64 // bytes
	}{
		// A buffer that grows has made about four times its end's size.
		"stream": {func(_ int, w http.ResponseWriter, _ *http.Request) { pour(w) }, 5 * DefaultBodyLimit},
		"error":  {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); pour(w) }, 5 * DefaultBodyLimit},
		"announced": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			pour(w)
		}, 8 << 20},
	}
	for name, tt := range tests {
		c, s := overNetwork(t, tt.h)
		total := allocated(func() {
			_, err := read(t.Context(), c, "secret/app")
			problem(t, err, plan.CodeProtocol, "the answer is larger than 16384 KiB (declared at file: key); check what the path holds")
			s.noCanary(t, err)
		})
		if s.count() != 1 || total > tt.most {
			t.Errorf("%s: %d requests, %d MiB", name, s.count(), total>>20)
		}
	}
}

// TestCompressedAnswer: compression is not asked for, and a server that
// compresses all the same is not Vault: a small answer never becomes a large one.
func TestCompressedAnswer(t *testing.T) {
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	block := bytes.Repeat([]byte("a"), 1<<20)
	for range 2 * DefaultBodyLimit >> 20 {
		_, _ = z.Write(block)
	}
	_ = z.Close()
	c, s := overNetwork(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if asked := r.Header.Get("Accept-Encoding"); asked != "" {
			t.Errorf("asks for %s", asked)
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	total := allocated(func() {
		_, err := read(t.Context(), c, "secret/app")
		problem(t, err, plan.CodeProtocol, "the answer is not Vault's: it is not valid UTF-8 (of type application/json)")
	})
	if s.count() != 1 || total > 8<<20 {
		t.Errorf("%d requests, %d MiB", s.count(), total>>20)
	}
}

// TestReadBody: the limit itself is accepted, in whatever pieces it comes and
// whether or not its length was announced.
func TestReadBody(t *testing.T) {
	const limit = 10
	for _, size := range []int{0, 1, 9, 10, 11, 12, 100} {
		for i, pieces := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.DataErrReader, iotest.HalfReader} {
			for _, announced := range []int64{int64(size), -1} {
				body := io.NopCloser(pieces(strings.NewReader(strings.Repeat("a", size))))
				got, err := readBody(&http.Response{Body: body, ContentLength: announced}, limit)
				if size <= limit && (err != nil || len(got) != size) || size > limit && (!errors.Is(err, errTooLarge) || len(got) > limit+1) {
					t.Errorf("%d bytes, announced %d, pieces %d: got %d, %v", size, announced, i, len(got), err)
				}
			}
		}
	}
	broken := io.NopCloser(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if got, err := readBody(&http.Response{Body: broken, ContentLength: 9}, limit); !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "abc" {
		t.Errorf("broken: %q, %v", got, err)
	}
}

// TestBodyLimit: the plan's own limit counts, for a read, a refusal and a login.
func TestBodyLimit(t *testing.T) {
	for limit, fits := range map[int64]bool{int64(len(kvAnswer)): true, int64(len(kvAnswer)) - 1: false} {
		for _, status := range []int{200, 404} {
			c, _ := inMemory(t, always(status, kvAnswer), func(o *Options) { o.Vault.BodyLimit = plan.Set(limit, plan.Origin{}) })
			_, err := read(t.Context(), c, "secret/app")
			if tooLarge := err != nil && strings.Contains(err.Error(), "larger than 0 KiB"); tooLarge == fits {
				t.Errorf("limit %d, status %d: %v", limit, status, err)
			}
		}
	}
	c, s := inMemory(t, always(200, loginAnswer), func(o *Options) {
		appRoleOptions(o)
		o.Vault.BodyLimit = plan.Set(int64(8), plan.Origin{})
	})
	problem(t, c.Login(t.Context()), plan.CodeProtocol, "raise vault.body_limit")
	if s.count() != 1 {
		t.Errorf("%d requests", s.count())
	}
}

// TestContentType: bytes that say of themselves that they are no JSON are not
// Vault's, even if they could be read as such.
func TestContentType(t *testing.T) {
	for kind, good := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON": true, "": true,
		"text/html": false, "text/plain; charset=utf-8": false, "application/json+x": false, "application/octet-stream": false, ";": false,
	} {
		for _, status := range []int{200, 404} {
			c, s := inMemory(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{kind}
				w.Header().Set("Server", "nginx/1.2")
				refuse(w, status, kvAnswer)
			}, nil)
			_, err := read(t.Context(), c, "secret/app")
			switch {
			case !good:
				problem(t, err, plan.CodeProtocol, "the answer is not Vault's")
				problem(t, err, plan.CodeProtocol, "(from nginx/1.2")
			case status == 200 && err != nil, status == 404 && plan.CodeOf(err) != plan.CodeMissing:
				t.Errorf("%q: %v", kind, err)
			}
			s.noCanary(t, err)
		}
	}
}

// TestWhoseAnswer: only plain and short words of the server are repeated.
func TestWhoseAnswer(t *testing.T) {
	tests := []struct{ server, kind, want string }{
		{"", "", ""},
		{"nginx", "", " (from nginx)"},
		{"", "text/html; charset=utf-8", " (of type text/html)"},
		{"Apache/2.4.1", "text/html", " (from Apache/2.4.1, of type text/html)"},
		{"a b", "<b>", ""},
		{strings.Repeat("a", maxWord), "", " (from " + strings.Repeat("a", maxWord) + ")"},
		{strings.Repeat("a", maxWord+1), "", ""},
	}
	for _, tt := range tests {
		resp := &http.Response{Header: http.Header{"Server": {tt.server}, "Content-Type": {tt.kind}}}
		if got := whose(resp); got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.server, tt.kind, got, tt.want)
		}
	}
}

func TestNumbersAreExact(t *testing.T) {
	texts := []string{"0", "-0", "1", "12345678901234567890", "1e400", "0.1", "1.10", "3.141592653589793238462643383279", "-9223372036854775809"}
	for _, text := range texts {
		c, _ := inMemory(t, always(200, `{"data":{"data":{"n":`+text+`,"deep":[{"n":`+text+`}]},"metadata":{"created_time":"x","version":1}}}`), nil)
		got, err := read(t.Context(), c, "secret/app")
		if err != nil {
			t.Fatal(err)
		}
		fields := got.Fields().Reveal()
		deep := fields["deep"].([]any)[0].(map[string]any)["n"]
		if fields["n"] != json.Number(text) || deep != json.Number(text) {
			t.Errorf("%s became %v and %v", text, fields["n"], deep)
		}
	}
}

func TestSecretOfAnswer(t *testing.T) {
	tests := []struct {
		data string
		kv2  bool
		ver  int
	}{
		{`{"data":{"a":"b"},"metadata":{"created_time":"x","version":4}}`, true, 4},
		{`{"data":null,"metadata":{"created_time":"x","version":4}}`, true, 4},
		{`{"data":{"a":"b"},"metadata":{"created_time":"x"}}`, true, 0},
		{`{"data":"text","metadata":{"created_time":"x"}}`, false, 0},
		{`{"data":{"a":"b"},"metadata":{}}`, false, 0},
		{`{"data":{"a":"b"},"metadata":"x"}`, false, 0},
		{`{"data":{},"metadata":{"created_time":"x"},"more":1}`, false, 0},
		{`{"metadata":{"created_time":"x"},"other":1}`, false, 0},
		{`{"a":"b"}`, false, 0},
	}
	for _, tt := range tests {
		a, err := decode([]byte(`{"request_id":"id","lease_id":"l","lease_duration":90,"renewable":true,"warnings":["w"],"data":` + tt.data + `}`))
		if err != nil {
			t.Fatal(err)
		}
		s := a.secret()
		if s.KV2 != tt.kv2 || s.Version != tt.ver {
			t.Errorf("%s: KV2 %v, version %d", tt.data, s.KV2, s.Version)
		}
		if s.RequestID != "id" || s.LeaseID != "l" || s.Lease.Seconds() != 90 || !s.Renewable || s.Warnings[0] != "w" {
			t.Errorf("%s: %+v", tt.data, s)
		}
	}
}

// FuzzDecode: what is accepted is valid UTF-8 and exactly one JSON object, and
// its data says the same as the bytes.
func FuzzDecode(f *testing.F) {
	for _, tt := range strange {
		f.Add([]byte(tt.body))
	}
	f.Add([]byte(kvAnswer))
	f.Add([]byte(loginAnswer))
	f.Add([]byte(" \n{\"data\":{\"n\":1e999,\"u\":\"\\ud83d\\ude00\"}}\t"))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := decode(body)
		if err != nil {
			if a != nil || !(errors.Is(err, errNotUTF8) || errors.Is(err, errNotJSON) || errors.Is(err, errTrailing)) {
				t.Fatalf("%v, %v", a, err)
			}
			return
		}
		if !utf8.Valid(body) || !json.Valid(body) || bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
			t.Fatalf("accepted %q", body)
		}
		if _, err := json.Marshal(a.secret().Data.Reveal()); err != nil {
			t.Fatalf("data that cannot be written down: %v", err)
		}
	})
}

// TestWholeAnswer: nothing that an answer says beside its data is dropped.
func TestWholeAnswer(t *testing.T) {
	a, err := decode([]byte(`{"request_id": "r", "lease_id": "l", "lease_duration": 60, "renewable": true, "mount_type": "kv", "warnings": ["w"],
		"auth": {"client_token": "t", "accessor": "a", "policies": ["p"], "token_policies": ["tp"], "identity_policies": ["ip"], "metadata": {"k": "v"},
			"orphan": true, "entity_id": "e", "lease_duration": 61, "renewable": true},
		"wrap_info": {"token": "w", "accessor": "b", "ttl": 62, "creation_time": "2024-01-02T03:04:05Z", "creation_path": "c", "wrapped_accessor": "d"}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := a.secret()
	token, wrap := string(s.Auth.ClientToken.Reveal()), string(s.Wrap.Token.Reveal())
	got := fmt.Sprint(s.RequestID, s.LeaseID, s.Lease, s.Renewable, s.MountType, s.Warnings, token, s.Auth.Accessor, s.Auth.Policies, s.Auth.TokenPolicies,
		s.Auth.IdentityPolicies, s.Auth.Metadata, s.Auth.Orphan, s.Auth.EntityID, s.Auth.Lease, s.Auth.Renewable,
		wrap, s.Wrap.Accessor, s.Wrap.TTL, s.Wrap.CreationTime.Year(), s.Wrap.CreationPath, s.Wrap.WrappedAccessor)
	if want := "rl1m0s truekv [w] ta [p] [tp] [ip] map[k:v] truee1m1s truewb1m2s 2024cd"; strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %s, want %s", got, want)
	}
}
