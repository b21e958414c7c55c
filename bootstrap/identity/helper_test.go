package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// canary is in every credential, query and answer of these tests, and must be
// in no error.
const canary = "CANARY-s3cr3t"

// token makes a JSON Web Token that nobody signed.
func token(claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + enc([]byte(claims)) + "." + enc([]byte(canary))
}

// goodToken is what every platform of these tests gives out.
func goodToken() string { return token(`{"iss":"i","sub":"s","exp":1800000000}`) }

func value(s string) secret.Value { return secret.New([]byte(s)) }

// problem checks an error's code and words, and that it gives nothing away.
func problem(t *testing.T, err error, code plan.Code, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want code %d", code)
	}
	if got := plan.CodeOf(err); got != code {
		t.Errorf("code %d, want %d: %v", got, code, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") != (len(problems(err)) > 1) {
		t.Errorf("error %q is not one line per problem", err)
	}
	noCanary(t, err)
}

func problems(err error) plan.Problems {
	var ps plan.Problems
	ps.Add(err)
	return ps
}

// noCanary looks through everything that err wraps.
func noCanary(t *testing.T, err error) {
	t.Helper()
	for _, p := range problems(err) {
		for e := error(p); e != nil; e = errors.Unwrap(e) {
			if text := fmt.Sprintf("%s %+v %#v", e, e, e); strings.Contains(text, canary) {
				t.Errorf("the error gives a secret away: %s", text)
			}
		}
	}
}

// texts reveals a proof.
func texts(p Proof) map[string]string {
	m := map[string]string{}
	for name, v := range p {
		m[name] = string(v.Reveal())
	}
	return m
}

func same(t *testing.T, got Proof, want map[string]string) {
	t.Helper()
	if g := texts(got); !maps.Equal(g, want) {
		t.Errorf("proof\n got %q\nwant %q", g, want)
	}
}

// platform stands in for every platform at once. Each path has its good
// answer; fault, when set, may answer in its place.
type platform struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	fault    func(w http.ResponseWriter, r *http.Request, n int) bool // n: the how manieth at this path
}

const (
	githubPath   = "/token"
	accountsPath = "/computeMetadata/v1/instance/service-accounts/"
	signPath     = "/v1/projects/-/serviceAccounts/vm@p.iam.gserviceaccount.com:signJwt"
	placePath    = "/metadata/instance"
	azurePath    = "/metadata/identity/oauth2/token"
)

const placeAnswer = `{"compute":{"name":"vm-1","subscriptionId":"sub-1","resourceGroupName":"rg-1","vmScaleSetName":""}}`

func newPlatform(t *testing.T) *platform {
	p := &platform{}
	good := map[string]string{
		githubPath:                        `{"count":7,"value":"` + goodToken() + `"}`,
		accountsPath + "default/identity": goodToken(),
		accountsPath + "default/email":    "vm@p.iam.gserviceaccount.com\n",
		accountsPath + "default/token":    `{"access_token":"` + canary + `-access","expires_in":3599,"token_type":"Bearer"}`,
		signPath:                          `{"keyId":"k","signedJwt":"` + goodToken() + `"}`,
		placePath:                         placeAnswer,
		azurePath:                         `{"access_token":"` + goodToken() + `","token_type":"Bearer"}`,
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := p.note(r, string(body))
		if strings.HasPrefix(r.URL.Path, accountsPath) {
			w.Header().Set("Metadata-Flavor", "Google")
		}
		if p.fault != nil && p.fault(w, r, n) {
			return
		}
		answer, ok := good[r.URL.Path]
		if !ok {
			http.Error(w, "unexpected path", http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *platform) note(r *http.Request, body string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.bodies = append(p.requests, r), append(p.bodies, body)
	return p.countLocked(r.URL.Path)
}

func (p *platform) countLocked(path string) int {
	n := 0
	for _, r := range p.requests {
		if r.URL.Path == path {
			n++
		}
	}
	return n
}

func (p *platform) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.countLocked(path)
}

// last gives the newest request to a path, and its body.
func (p *platform) last(t *testing.T, path string) (*http.Request, string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range slices.Backward(p.requests) {
		if r.URL.Path == path {
			return r, p.bodies[i]
		}
	}
	t.Fatalf("no request to %s", path)
	return nil, ""
}

// newKey makes a service account's key file, and gives its public half.
func newKey(t *testing.T, pkcs1 bool, change map[string]string) (secret.Value, *rsa.PublicKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if !pkcs1 {
		block.Type = "PRIVATE KEY"
		if block.Bytes, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			t.Fatal(err)
		}
	}
	file := map[string]string{
		"type": "service_account", "client_email": "app@p.iam.gserviceaccount.com",
		"private_key_id": "key-1", "private_key": string(pem.EncodeToMemory(block)), "project_id": canary,
	}
	maps.Copy(file, change)
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(text), &key.PublicKey
}
