// Command floor is the least that any bootstrap has to do: log in through AppRole or Kubernetes, or take a token, read N secrets of
// KV version 2 over at most 16 connections (over TLS one, which HTTP/2 shares), write each to a 0400 file, revoke the token that it logged in for.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

type answer struct {
	Auth struct {
		Token string `json:"client_token"`
	}
	Data struct{ Data struct{ Value string } }
}

func main() { // floor DIR N
	const connections = 16
	t := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, ForceAttemptHTTP2: true}
	if ca := os.Getenv("VAULT_CACERT"); ca != "" {
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM(must(os.ReadFile(ca)))
	}
	http.DefaultTransport = t
	path, login := "auth/approle/login", fmt.Sprintf(`{"role_id": %q, "secret_id": %q}`, os.Getenv("VAULT_ROLE_ID"), os.Getenv("VAULT_SECRET_ID"))
	if file := os.Getenv("JWT_FILE"); file != "" {
		path, login = "auth/kubernetes/login", fmt.Sprintf(`{"role": "bench", "jwt": %q}`, must(os.ReadFile(file)))
	}
	token := os.Getenv("VAULT_TOKEN") // or it was given one
	if token == "" {
		token = call("POST", path, "", login).Auth.Token
		defer call("POST", "auth/token/revoke-self", token, "")
	}
	var reads sync.WaitGroup
	for i := range must(strconv.Atoi(os.Args[2])) {
		reads.Go(func() {
			name := strconv.Itoa(i)
			value := call("GET", "secret/data/bench/"+name, token, "").Data.Data.Value
			check(os.WriteFile(os.Args[1]+"/"+name, []byte(value), 0o400))
		})
	}
	reads.Wait()
}

func call(method, path, token, body string) (a answer) {
	req := must(http.NewRequest(method, os.Getenv("VAULT_ADDR")+"/v1/"+path, strings.NewReader(body)))
	req.Header.Set("X-Vault-Token", token)
	resp := must(http.DefaultClient.Do(req))
	defer resp.Body.Close()
	switch text := must(io.ReadAll(resp.Body)); resp.StatusCode {
	case http.StatusOK:
		check(json.Unmarshal(text, &a))
	case http.StatusNoContent:
	default:
		log.Fatalf("floor: %s %s: %s", method, path, resp.Status)
	}
	return a
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Fatalln("floor:", err)
	}
}
