package vault

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
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

// TestHugeAnswers: what is read is bounded, also after decompression and also
// for the body of an error.
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
		_, _ = io.WriteString(w, `"}}`)
	}
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	block := bytes.Repeat([]byte("a"), 1<<20)
	for range 2 * MaxBody >> 20 {
		_, _ = z.Write(block)
	}
	_ = z.Close()
	tests := map[string]handler{
		"stream": func(_ int, w http.ResponseWriter, _ *http.Request) { pour(w) },
		"error":  func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); pour(w) },
		"bomb": func(_ int, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Error("the client does not ask for gzip; this case tests nothing")
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		},
	}
	for name, h := range tests {
		c, s := overNetwork(t, h)
		total := allocated(func() {
			_, err := read(t.Context(), c, "secret/app")
			problem(t, err, plan.CodeProtocol, "the answer is larger than 16 MiB")
			s.noCanary(t, err)
		})
		// A buffer that grows has made about five times its end's size, and
		// the API module copies an error's body once more.
		if s.count() != 1 || total > 12*MaxBody {
			t.Errorf("%s: %d requests, %d MiB", name, s.count(), total>>20)
		}
	}
}

// TestJustFull: the bound itself is accepted, in whatever pieces it comes.
func TestJustFull(t *testing.T) {
	for _, size := range []int{0, 1, 9, 10, 11, 12, 100} {
		for _, pieces := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.DataErrReader, iotest.HalfReader} {
			body := &boundedBody{ReadCloser: io.NopCloser(pieces(strings.NewReader(strings.Repeat("a", size)))), left: 10}
			got, err := io.ReadAll(body)
			if size <= 10 && (err != nil || len(got) != size) || size > 10 && (!errors.Is(err, errTooLarge) || len(got) > 11) {
				t.Errorf("%d bytes: got %d, %v", size, len(got), err)
			}
			if _, again := body.Read(make([]byte, 1)); size > 10 && !errors.Is(again, errTooLarge) {
				t.Errorf("%d bytes: read again: %v", size, again)
			}
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
