package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The service account that contestants are.
const (
	namespace = "prod"
	account   = "app"
	accountID = "uid-of-app"
)

// cluster is what Vault's kubernetes method needs of one: it asks the API server
// about a token
// (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/).
type cluster struct {
	api   *httptest.Server
	token string // of the service account; any other is refused
}

func newCluster() (*cluster, error) {
	token, err := serviceAccountToken()
	if err != nil {
		return nil, err
	}
	c := &cluster{token: token}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", c.review)
	c.api = httptest.NewTLSServer(mux)
	return c, nil
}

func (c *cluster) close() { c.api.Close() }

// review says whose a token is.
func (c *cluster) review(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Spec struct {
			Token     string
			Audiences []string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status := map[string]any{"authenticated": false}
	if ask.Spec.Token == c.token {
		status = map[string]any{
			"authenticated": true, "audiences": ask.Spec.Audiences,
			"user": map[string]string{"username": "system:serviceaccount:" + namespace + ":" + account, "uid": accountID},
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{ // whoever does not listen gets nothing
		"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status,
	})
}

// serviceAccountToken makes a token as the API server projects them into a pod.
func serviceAccountToken() (string, error) {
	const bits = 2048
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return "", err
	}
	now := time.Now()
	body, err := json.Marshal(map[string]any{
		"iss": "https://kubernetes.default.svc", "aud": []string{"vault"}, "sub": "system:serviceaccount:" + namespace + ":" + account,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": account, "uid": accountID}},
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	return text + "." + encode(signature), err
}

// joinCluster makes the kubernetes method known to the server, with a role, and
// writes the service account's token below home.
func (s *server) joinCluster(ctx context.Context, home, plugin string) (err error) {
	binary, err := os.ReadFile(plugin)
	if err != nil {
		return err
	}
	if s.cluster, err = newCluster(); err != nil {
		return err
	}
	s.jwt = filepath.Join(home, "jwt")
	sum := sha256.Sum256(binary)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cluster.api.Certificate().Raw})
	for _, step := range []struct {
		path string
		body map[string]any
	}{
		{"sys/plugins/catalog/auth/kubernetes", map[string]any{"command": filepath.Base(plugin), "sha256": hex.EncodeToString(sum[:])}},
		{"sys/auth/kubernetes", map[string]any{"type": kubernetes}},
		{"auth/kubernetes/config", map[string]any{
			"kubernetes_host": s.cluster.api.URL, "kubernetes_ca_cert": string(ca), "disable_local_ca_jwt": true,
		}},
		{"auth/kubernetes/role/" + role, map[string]any{
			"bound_service_account_names": account, "bound_service_account_namespaces": namespace,
			"audience": "vault", "token_policies": role, "token_ttl": "1h",
		}},
	} {
		if err := s.call(ctx, http.MethodPost, step.path, step.body, nil); err != nil {
			return err
		}
	}
	return os.WriteFile(s.jwt, []byte(s.cluster.token), 0o600)
}

// makeCertificates writes an authority, and a certificate of it for loopback with
// its key.
func makeCertificates(caPath, certPath, keyPath string) error {
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "bench"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	caDER, err1 := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	leafDER, err2 := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	keyDER, err3 := x509.MarshalECPrivateKey(key)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return errors.Join(
		writePEM(caPath, "CERTIFICATE", caDER), writePEM(certPath, "CERTIFICATE", leafDER), writePEM(keyPath, "EC PRIVATE KEY", keyDER),
	)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// audited turns an audit log on, lets do do something, and gives how many requests
// there were meanwhile: TLS hides them from the proxy.
func (s *server) audited(ctx context.Context, do func() error) (requests int, err error) {
	s.audits++
	path := filepath.Join(filepath.Dir(s.log), fmt.Sprintf("audit-%d.log", s.audits))
	device := "sys/audit/" + filepath.Base(path)
	if err := s.call(ctx, http.MethodPost, device, map[string]any{"type": "file", "options": map[string]string{"file_path": path}}, nil); err != nil {
		return 0, err
	}
	err = do()
	if err := errors.Join(err, s.call(ctx, http.MethodDelete, device, nil, nil)); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var entry struct {
			Type    string
			Request struct{ Path string }
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			return 0, fmt.Errorf("audit log: %w", err)
		}
		if entry.Type == "request" && !strings.HasPrefix(entry.Request.Path, "sys/audit/") {
			requests++
		}
	}
	return requests, os.Remove(path)
}
