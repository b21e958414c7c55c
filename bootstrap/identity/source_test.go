package identity

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

func TestGitHub(t *testing.T) {
	p := newPlatform(t)
	got, err := GitHub{URL: value(p.URL + githubPath + "?api-version=2.0"), Token: value(canary), Audience: "https://vault.example/x y"}.Proof(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, map[string]string{"jwt": goodToken()})
	r, _ := p.last(t, githubPath)
	if r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer "+canary {
		t.Errorf("%s with %q", r.Method, r.Header.Get("Authorization"))
	}
}

func TestGitHubAddress(t *testing.T) {
	tests := []struct{ url, audience, want string }{
		{"https://h/token?api-version=2.0", "https://vault.example/x y", "https://h/token?api-version=2.0&audience=https%3A%2F%2Fvault.example%2Fx%20y"},
		{"https://h/token", "v", "https://h/token?audience=v"},
		{"https://h/token?", "v", "https://h/token?audience=v"},
		{"https://h/token?a=%2F&", "v", "https://h/token?a=%2F&audience=v"},
		{"https://h/token?b=1&a=2", "", "https://h/token?b=1&a=2"},
		{"https://h/t", "a&b=c+d#e%", "https://h/t?audience=a%26b%3Dc%2Bd%23e%25"},
		{"http://127.0.0.1:8/t", "v", "http://127.0.0.1:8/t?audience=v"},
		{"http://[::1]:8/t", "v", "http://[::1]:8/t?audience=v"},
	}
	for _, tt := range tests {
		if got, err := (GitHub{URL: value(tt.url), Audience: tt.audience}).address(); err != nil || got != tt.want {
			t.Errorf("%q for %q: %q, %v, want %q", tt.url, tt.audience, got, err, tt.want)
		}
	}
}

// TestSettings: every bad setting is told before anything is sent, all at once.
func TestSettings(t *testing.T) {
	p := newPlatform(t)
	good := p.URL + githubPath
	key, _ := newKey(t, false, nil)
	tests := []struct {
		name   string
		source Source
		says   []string
	}{
		{"github: nothing", GitHub{}, []string{"REQUEST_URL: not given", "REQUEST_TOKEN: not given", "id-token: write"}},
		{"github: http", GitHub{URL: value("http://github.test/" + canary), Token: value(canary)}, []string{"must begin with https://, because"}},
		{"github: http by name", GitHub{URL: value("http://localhost/" + canary), Token: value(canary)}, []string{"must begin with https://, because"}},
		{"github: scheme", GitHub{URL: value("ftp://github.test/" + canary), Token: value(canary)}, []string{"must begin with https://"}},
		{"github: no URL", GitHub{URL: value("https://%zz" + canary), Token: value(canary)}, []string{"is not a URL"}},
		{"github: relative", GitHub{URL: value("/" + canary), Token: value(canary)}, []string{"has no host"}},
		{"github: user", GitHub{URL: value("https://u:" + canary + "@github.test/"), Token: value(canary)}, []string{"must not hold a user"}},
		{"github: fragment", GitHub{URL: value("https://github.test/#" + canary), Token: value(canary)}, []string{"fragment"}},
		{"github: token", GitHub{URL: value(good), Token: value(canary + "\n")}, []string{"a line break"}},
		{"gcp: nothing", GCPMetadata{Endpoint: p.URL}, []string{"audience", "vault/ROLE"}},
		{"gcp: all", GCPMetadata{Endpoint: "x", ServiceAccount: "../../x"}, []string{"metadata service: has no host", "neither an email", "audience"}},
		{"gcp: query", GCPMetadata{Endpoint: p.URL + "?" + canary, Audience: "a"}, []string{"must not have a query"}},
		{"gcp: account", GCPMetadata{Endpoint: p.URL, Audience: "a", ServiceAccount: "a/b"}, []string{"neither an email"}},
		{"gcp iam: all", GCPIAM{ServiceAccount: "a?b", MetadataEndpoint: "x", IAMEndpoint: "http://iam.test"}, []string{"no role", "neither an email", "has no host", "must begin with https://, because"}},
		{"gcp iam: other account", GCPIAM{Credentials: key, Role: "r", ServiceAccount: "b@p.iam.gserviceaccount.com"}, []string{"the credentials are of another one"}},
		{"azure: both", Azure{Endpoint: p.URL, ClientID: "a", ObjectID: "b"}, []string{"both a client id and an object id"}},
		{"azure: endpoint", Azure{Endpoint: "gopher://x"}, []string{"Azure's metadata service: must begin with"}},
	}
	for _, tt := range tests {
		_, err := tt.source.Proof(t.Context())
		t.Run(tt.name, func(t *testing.T) { problem(t, err, plan.CodeConfig, tt.says...) })
	}
	if n := len(p.requests); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestGCPMetadata(t *testing.T) {
	p := newPlatform(t)
	got, err := GCPMetadata{Endpoint: p.URL + "/", Audience: "http://vault/my role"}.Proof(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, map[string]string{"jwt": goodToken()})
	r, _ := p.last(t, accountsPath+"default/identity")
	if r.URL.RawQuery != "audience=http%3A%2F%2Fvault%2Fmy%20role&format=full" || r.Header.Get("Metadata-Flavor") != "Google" {
		t.Errorf("query %q, headers %v", r.URL.RawQuery, r.Header)
	}
}

// TestGCPMetadataAccount: another of the instance's accounts is asked for by
// its name.
func TestGCPMetadataAccount(t *testing.T) {
	p := newPlatform(t)
	const account = "a-b@p-1.iam.gserviceaccount.com"
	p.fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		text(goodToken())(w, r)
		return true
	}
	if _, err := (GCPMetadata{Endpoint: p.URL, ServiceAccount: account, Audience: "vault/r"}).Proof(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.last(t, accountsPath+account+"/identity")
}

// TestNotGoogle: what answers at the metadata address on another cloud is not
// taken for Google's, whatever it says.
func TestNotGoogle(t *testing.T) {
	for _, answer := range []http.HandlerFunc{text(goodToken()), status(404), status(403), status(400)} {
		p := newPlatform(t)
		p.fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			w.Header().Del("Metadata-Flavor")
			answer(w, r)
			return true
		}
		_, err := GCPMetadata{Endpoint: p.URL, Audience: "vault/r"}.Proof(t.Context())
		problem(t, err, plan.CodeProtocol, "not Google's metadata service's", "works on Google Cloud only")
	}
}

// claimsOfProof takes the payload out of a token.
func payloadOf(t *testing.T, jwt string) map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return object(t, raw)
}

func object(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// checkClaims checks what Vault checks: who, for which role, and until when.
func checkClaims(t *testing.T, c map[string]any, account string) {
	t.Helper()
	exp, _ := c["exp"].(float64)
	left := time.Until(time.Unix(int64(exp), 0))
	if c["aud"] != "vault/my-role" || c["sub"] != account || left <= time.Minute || left > 15*time.Minute {
		t.Errorf("claims %v, %v left", c, left)
	}
}

// TestGCPIAMWithKey verifies the signature as Vault does, with the public half
// of the key.
func TestGCPIAMWithKey(t *testing.T) {
	for _, pkcs1 := range []bool{false, true} {
		credentials, public := newKey(t, pkcs1, nil)
		got, err := GCPIAM{Credentials: credentials, Role: "my-role"}.Proof(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		jwt := string(got["jwt"].Reveal())
		checkClaims(t, payloadOf(t, jwt), "app@p.iam.gserviceaccount.com")
		parts := strings.Split(jwt, ".")
		head, _ := base64.RawURLEncoding.DecodeString(parts[0])
		if h := object(t, head); h["alg"] != "RS256" || h["kid"] != "key-1" || h["typ"] != "JWT" {
			t.Errorf("header %v", h)
		}
		signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature); err != nil {
			t.Error(err)
		}
	}
}

func TestGCPIAMBadKey(t *testing.T) {
	tests := []struct {
		change map[string]string
		say    string
	}{
		{map[string]string{"type": "external_account"}, `"type"`},
		{map[string]string{"type": ""}, `"type"`},
		{map[string]string{"private_key_id": ""}, "private_key_id"},
		{map[string]string{"client_email": canary + "/.."}, "client_email"},
		{map[string]string{"client_email": ""}, "client_email"},
		{map[string]string{"private_key": canary}, "is not PEM"},
		{map[string]string{"private_key": "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n"}, "is not an RSA key"},
	}
	for _, tt := range tests {
		credentials, _ := newKey(t, false, tt.change)
		_, err := GCPIAM{Credentials: credentials, Role: "r"}.Proof(t.Context())
		problem(t, err, plan.CodeConfig, tt.say)
	}
	for _, file := range []string{canary, "[]", `{"type":5}`, `"` + canary + `"`} {
		_, err := GCPIAM{Credentials: value(file), Role: "r"}.Proof(t.Context())
		problem(t, err, plan.CodeConfig, "the Google credentials")
	}
}

func TestGCPIAMWithoutKey(t *testing.T) {
	for _, account := range []string{"", "vm@p.iam.gserviceaccount.com"} {
		p := newPlatform(t)
		got, err := GCPIAM{Role: "my-role", ServiceAccount: account, MetadataEndpoint: p.URL, IAMEndpoint: p.URL}.Proof(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, map[string]string{"jwt": goodToken()})
		r, body := p.last(t, signPath)
		if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer "+canary+"-access" {
			t.Errorf("%s with %q", r.Method, r.Header.Get("Authorization"))
		}
		payload, _ := object(t, []byte(body))["payload"].(string)
		checkClaims(t, object(t, []byte(payload)), "vm@p.iam.gserviceaccount.com")
		if asked := p.count(accountsPath + "default/email"); asked != 1 && account == "" || asked != 0 && account != "" {
			t.Errorf("account %q: its name was asked for %d times", account, asked)
		}
	}
}

func TestAzure(t *testing.T) {
	tests := []struct {
		name   string
		source Azure
		place  string
		query  string
		want   map[string]string
	}{
		{
			"machine",
			Azure{},
			placeAnswer, "api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F",
			map[string]string{"subscription_id": "sub-1", "resource_group_name": "rg-1", "vm_name": "vm-1"},
		},
		{
			"scale set",
			Azure{Resource: "https://vault.example", ClientID: "c d"},
			strings.Replace(placeAnswer, `"vmScaleSetName":""`, `"vmScaleSetName":"set-1"`, 1),
			"api-version=2018-02-01&resource=https%3A%2F%2Fvault.example&client_id=c%20d",
			map[string]string{"subscription_id": "sub-1", "resource_group_name": "rg-1", "vmss_name": "set-1"},
		},
		{
			"by object",
			Azure{ObjectID: "o"},
			placeAnswer, "api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F&object_id=o",
			map[string]string{"subscription_id": "sub-1", "resource_group_name": "rg-1", "vm_name": "vm-1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlatform(t)
			p.fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if r.URL.Path == placePath {
					text(tt.place)(w, r)
				}
				return r.URL.Path == placePath
			}
			tt.source.Endpoint = p.URL
			got, err := tt.source.Proof(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tt.want["jwt"] = goodToken()
			same(t, got, tt.want)
			for _, path := range []string{placePath, azurePath} {
				if r, _ := p.last(t, path); r.Header.Get("Metadata") != "true" {
					t.Errorf("%s without the header", path)
				}
			}
			if r, _ := p.last(t, azurePath); r.URL.RawQuery != tt.query {
				t.Errorf("query %q, want %q", r.URL.RawQuery, tt.query)
			}
		})
	}
}

// TestAzureNowhere: half a place is none.
func TestAzureNowhere(t *testing.T) {
	for _, member := range []string{"subscriptionId", "resourceGroupName", "name"} {
		p := newPlatform(t)
		p.fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.URL.Path == placePath {
				text(strings.Replace(placeAnswer, `"`+member+`"`, `"other"`, 1))(w, r)
			}
			return r.URL.Path == placePath
		}
		_, err := Azure{Endpoint: p.URL}.Proof(t.Context())
		problem(t, err, plan.CodeProtocol, "does not say where the machine is")
		if p.count(azurePath) != 0 {
			t.Error("a token was asked for")
		}
	}
}

// TestSourcesKeepNothing: a source may be asked again, and what its settings
// hold is still there.
func TestSourcesKeepNothing(t *testing.T) {
	p := newPlatform(t)
	for _, s := range steps() {
		src := s.source(p.URL)
		first, err := src.Proof(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range first {
			v.Wipe()
		}
		again, err := src.Proof(t.Context())
		if err != nil || string(again["jwt"].Reveal()) != goodToken() {
			t.Errorf("%s: %v, %v", s.name, again, err)
		}
	}
}

var _ = []Source{GitHub{}, GCPMetadata{}, GCPIAM{}, Azure{}, AWS{}, GCPIAM{Credentials: secret.Value{}}}
