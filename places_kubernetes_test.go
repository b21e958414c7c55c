package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdTokenReview serves `tokenreview`: the one endpoint of a Kubernetes API
// server that Vault's kubernetes method asks about a token. Good tokens are those
// of the issuer, for a service account. It speaks TLS, sets KUBERNETES_HOST and
// writes its authority to the file kubernetes-ca.pem.
func cmdTokenReview(ts *testscript.TestScript, neg bool, args []string) {
	s := current(ts).issuer
	if neg || len(args) != 0 || s == nil {
		ts.Fatalf("usage, after `issuer`: tokenreview")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", s.review)
	server := httptest.NewTLSServer(mux)
	ts.Defer(server.Close)
	ts.Setenv("KUBERNETES_HOST", server.URL)
	writePEM(ts, ts.MkAbs("kubernetes-ca.pem"), "CERTIFICATE", server.Certificate().Raw)
}

// review answers a TokenReview like the API server
// (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/):
// whoever asks must have a good token too; a bad one under review is an answer,
// not an error.
func (s *issuer) review(w http.ResponseWriter, r *http.Request) {
	_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if _, err := s.verify(bearer); err != nil {
		writeJSON(w, http.StatusUnauthorized, map[string]any{
			"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": http.StatusUnauthorized, "message": "Unauthorized",
		})
		return
	}
	var ask struct {
		Spec struct {
			Token     string
			Audiences []string
		}
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status := map[string]any{"authenticated": false}
	user, audiences, err := s.account(ask.Spec.Token, ask.Spec.Audiences)
	if err != nil {
		status["error"] = err.Error()
	} else {
		_, name, _ := strings.Cut(strings.TrimPrefix(user, serviceAccount), ":")
		status = map[string]any{
			"authenticated": true, "audiences": audiences, "user": map[string]any{"username": user, "uid": "uid-of-" + name},
		}
	}
	writeJSON(w, http.StatusCreated, map[string]any{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})
}

// account gives the service account of a token, and which of the wanted
// audiences it is for.
func (s *issuer) account(token string, wanted []string) (user string, common []string, err error) {
	claims, err := s.verify(token)
	if err != nil {
		return "", nil, err
	}
	user, _ = claims["sub"].(string)
	if !strings.HasPrefix(user, serviceAccount) {
		return "", nil, fmt.Errorf("%q is not a service account", user)
	}
	audiences, _ := claims["aud"].([]any)
	for _, audience := range wanted {
		if slices.Contains(audiences, any(audience)) {
			common = append(common, audience)
		}
	}
	if len(wanted) > 0 && len(common) == 0 {
		return "", nil, fmt.Errorf("the token is for the audiences %v", audiences)
	}
	return user, common, nil
}
