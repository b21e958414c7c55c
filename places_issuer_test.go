package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// issuer vouches for processes like GitHub, GitLab or a Kubernetes cluster do:
// it signs tokens, and publishes the key to check them with.
type issuer struct {
	key    *rsa.PrivateKey
	url    string
	bearer string // who may ask for a token
	keep   func(token string)
	fail   atomic.Int32 // so many requests for a token are still refused with 503
	asked  atomic.Int32
	minted atomic.Int32
}

const (
	issuerKeyID    = "the-only-one"
	workflow       = "repo:acme/app:ref:refs/heads/main"
	tokenLifetime  = 10 * time.Minute
	serviceAccount = "system:serviceaccount:" // NAMESPACE:NAME
)

// cmdIssuer serves
//
//	issuer                start one (OpenID Connect discovery and JWKS); sets ISSUER, and
//	                      ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN as a GitHub Actions job has them
//	issuer fail N         the next N requests for a token get 503
//	issuer requests N     exactly N requests for a token came since the start or the last `requests`
//	issuer minted N       the same for those that got one
//
// A token that is asked for is for the wanted audience, and for GitHub's subject
// repo:acme/app:ref:refs/heads/main; a wrong bearer gets 401.
func cmdIssuer(ts *testscript.TestScript, neg bool, args []string) {
	state := current(ts)
	switch {
	case neg || len(args) == 1 || len(args) > 2:
		ts.Fatalf("usage: issuer [fail|requests|minted N]")
	case len(args) == 0:
		state.issuer = newIssuer(ts)
	case args[0] == "fail":
		state.issuer.fail.Store(int32(number(ts, args[1])))
	case args[0] == "requests":
		if n := state.issuer.asked.Swap(0); int(n) != number(ts, args[1]) {
			ts.Fatalf("%d requests for a token", n)
		}
	case args[0] == "minted":
		if n := state.issuer.minted.Swap(0); int(n) != number(ts, args[1]) {
			ts.Fatalf("%d tokens were given", n)
		}
	default:
		ts.Fatalf("issuer: unknown word %s", args[0])
	}
}

func newIssuer(ts *testscript.TestScript) *issuer {
	state := current(ts)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	ts.Check(err)
	s := &issuer{key: key, bearer: newSecret(ts, ""), keep: func(token string) { keepSecret(state, token) }}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", s.discovery)
	mux.HandleFunc("GET /keys", s.keys)
	mux.HandleFunc("GET /idtoken", s.mint)
	server := httptest.NewUnstartedServer(mux)
	s.url = "http://" + server.Listener.Addr().String()
	server.Start()
	ts.Defer(server.Close)
	ts.Setenv("ISSUER", s.url)
	ts.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", s.url+"/idtoken?api-version=2.0")
	ts.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", s.bearer)
	return s
}

// discovery is the document of OpenID Connect Discovery 1.0, section 4.
func (s *issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": s.url, "jwks_uri": s.url + "/keys", "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

// keys is the JSON Web Key Set (RFC 7517) with the one key.
func (s *issuer) keys(w http.ResponseWriter, _ *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	writeJSON(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": issuerKeyID,
		"n": encode(s.key.N.Bytes()), "e": encode(big.NewInt(int64(s.key.E)).Bytes()),
	}}})
}

// mint answers as GitHub's endpoint does
// (https://docs.github.com/en/actions/reference/security/oidc).
func (s *issuer) mint(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	kind, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	query := r.URL.Query()
	switch {
	case s.fail.Add(-1) >= 0:
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"message": "try again"})
		return
	case !strings.EqualFold(kind, "bearer") || subtle.ConstantTimeCompare([]byte(bearer), []byte(s.bearer)) != 1:
		writeJSON(w, http.StatusUnauthorized, map[string]string{"message": "who are you?"})
		return
	case query.Get("api-version") != "2.0":
		writeJSON(w, http.StatusBadRequest, map[string]string{"message": "unknown api-version"})
		return
	}
	audience := query.Get("audience")
	if audience == "" {
		audience = "https://github.com/acme"
	}
	token, err := s.sign(map[string]any{
		"sub": workflow, "aud": audience, "repository": "acme/app", "repository_owner": "acme", "ref": "refs/heads/main",
	})
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"message": err.Error()})
		return
	}
	s.minted.Add(1)
	s.keep(token)
	writeJSON(w, http.StatusOK, map[string]string{"value": token})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// sign makes a JSON Web Token (RFC 7519) with RS256 (RFC 7518, section 3.3).
// The claims win over those that every token has.
func (s *issuer) sign(claims map[string]any) (string, error) {
	now := time.Now()
	all := map[string]any{
		"iss": s.url, "jti": rand.Text(), "iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(tokenLifetime).Unix(),
	}
	maps.Copy(all, claims)
	body, err := json.Marshal(all)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT","kid":"`+issuerKeyID+`"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, sum[:])
	return text + "." + encode(signature), err
}

// verify gives the claims of a token that this issuer signed and that is valid
// now.
func (s *issuer) verify(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("it does not have three parts")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return nil, err
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	if err := json.Unmarshal(body, &claims); err != nil {
		return nil, err
	}
	begin, _ := claims["nbf"].(float64)
	end, _ := claims["exp"].(float64)
	if now := float64(time.Now().Unix()); now < begin || now >= end {
		return nil, errors.New("token has expired or is not valid yet")
	}
	return claims, nil
}

// cmdIDToken serves `idtoken FILE CLAIM=VALUE…`: it writes a token of the issuer
// to a file, without a newline. exp, iat and nbf are times from now (exp=-1h).
// CLAIM:=VALUE is for a value in JSON. A service account of Kubernetes
// (sub=system:serviceaccount:NAMESPACE:NAME) gets the claims that a cluster
// gives it.
func cmdIDToken(ts *testscript.TestScript, neg bool, args []string) {
	s := current(ts).issuer
	if neg || len(args) < 2 || s == nil {
		ts.Fatalf("usage, after `issuer`: idtoken FILE CLAIM=VALUE…")
	}
	claims := map[string]any{}
	for _, arg := range args[1:] {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("idtoken: %s is not CLAIM=VALUE", arg)
		}
		name, value := claim(ts, name, text)
		claims[name] = value
	}
	if sub, _ := claims["sub"].(string); strings.HasPrefix(sub, serviceAccount) {
		namespace, name, _ := strings.Cut(strings.TrimPrefix(sub, serviceAccount), ":")
		claims["kubernetes.io"] = map[string]any{
			"namespace": namespace, "serviceaccount": map[string]string{"name": name, "uid": "uid-of-" + name},
		}
		if audience, ok := claims["aud"].(string); ok {
			claims["aud"] = []string{audience} // a cluster always gives a list
		}
	}
	token, err := s.sign(claims)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token), 0o600))
	keepSecret(current(ts), token)
}

// claim gives the name and the value of one argument of `idtoken`.
func claim(ts *testscript.TestScript, name, text string) (string, any) {
	if plain, ok := strings.CutSuffix(name, ":"); ok {
		if !json.Valid([]byte(text)) {
			ts.Fatalf("idtoken: %s is not JSON", text)
		}
		return plain, json.RawMessage(text)
	}
	switch name {
	case "exp", "iat", "nbf":
		d, err := time.ParseDuration(text)
		ts.Check(err)
		return name, time.Now().Add(d).Unix()
	}
	return name, text
}
