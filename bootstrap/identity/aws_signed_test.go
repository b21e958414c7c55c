//go:build aws

package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// signed is a proof, decoded as Vault decodes it.
type signed struct {
	method string
	url    *url.URL
	body   string
	header http.Header
}

func decodeAWS(t *testing.T, p Proof) signed {
	t.Helper()
	names := []string{"iam_http_request_method", "iam_request_body", "iam_request_headers", "iam_request_url"}
	if got := slices.Sorted(maps.Keys(p)); !slices.Equal(got, names) {
		t.Fatalf("members %v", got)
	}
	text := func(name string) []byte {
		raw, err := base64.StdEncoding.DecodeString(string(p[name].Reveal()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return raw
	}
	s := signed{method: string(p["iam_http_request_method"].Reveal()), body: string(text("iam_request_body"))}
	var err error
	if s.url, err = url.Parse(string(text("iam_request_url"))); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text("iam_request_headers"), &s.header); err != nil {
		t.Fatal(err)
	}
	return s
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// verify recomputes Signature Version 4 from what Vault sends to AWS
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)
// and gives the signed headers and the region.
func (s signed) verify(t *testing.T, secretKey string) (names []string, region string) {
	t.Helper()
	rest, ok := strings.CutPrefix(s.header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		t.Fatal("the request is not signed")
	}
	part := map[string]string{}
	for _, p := range strings.Split(rest, ", ") {
		name, text, _ := strings.Cut(p, "=")
		part[name] = text
	}
	scope := strings.Split(part["Credential"], "/") // key, day, region, service, aws4_request
	if len(scope) != 5 || scope[0] != "AKIDEXAMPLE" || scope[3] != "sts" || scope[4] != "aws4_request" {
		t.Fatalf("scope %v", scope)
	}
	names = strings.Split(part["SignedHeaders"], ";")
	canonical := []string{s.method, s.url.EscapedPath(), s.url.RawQuery}
	for _, name := range names {
		text := s.header.Get(name)
		switch name { // what Vault's own request adds
		case "host":
			text = s.url.Host
		case "content-length":
			text = fmt.Sprint(len(s.body))
		}
		canonical = append(canonical, name+":"+text)
	}
	canonical = append(canonical, "", part["SignedHeaders"], hash(s.body))
	date := s.header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("signed at %q", date)
	}
	text := strings.Join([]string{"AWS4-HMAC-SHA256", date, strings.Join(scope[1:], "/"), hash(strings.Join(canonical, "\n"))}, "\n")
	key := []byte("AWS4" + secretKey)
	for _, s := range scope[1:] {
		key = mac(key, s)
	}
	if want := hex.EncodeToString(mac(key, text)); part["Signature"] != want {
		t.Errorf("signature %s, want %s", part["Signature"], want)
	}
	return names, scope[2]
}
