package vault

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/hashicorp/vault/api"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// errTooLarge is what reading an answer beyond MaxBody gives.
var errTooLarge = errors.New("vault: the answer is too large")

// newAPI makes the API module's client under our transport: no redirects, no
// retries of its own, bounded bodies. Its own defaults read the process
// environment, so everything that the plan decides is set again afterwards.
func newAPI(v plan.Vault) (*api.Client, error) {
	if !v.Address.IsSet {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, What: "Vault's address", Why: "not given",
			Fix: "set VAULT_ADDR or vault.address, or use --dev FILE for a local stand-in",
		}
	}
	if err := checkAddress(v.Address); err != nil {
		return nil, err
	}
	if err := checkFiles(v.TLS); err != nil {
		return nil, err
	}
	cfg := api.DefaultConfig()
	if cfg.Error != nil {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, What: "the VAULT_… variables", Why: "one of them cannot be used", Err: cfg.Error,
			Fix: "check the files that VAULT_CACERT, _CAPATH, _CLIENT_CERT and _CLIENT_KEY name, VAULT_PROXY_ADDR, and the numbers in VAULT_CLIENT_TIMEOUT, _MAX_RETRIES and _RATE_LIMIT",
		}
	}
	cfg.Address, cfg.AgentAddress = v.Address.Value, ""
	cfg.MaxRetries, cfg.DisableRedirects = 0, true
	cfg.Timeout = 0 // the module would end its context before we have read the body; ours bounds every try
	if err := setTransport(cfg, v); err != nil {
		return nil, err
	}
	c, err := api.NewClient(cfg) // needs the bare transport for unix://
	if err != nil {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: v.Address.Origin, What: "Vault's address or VAULT_HEADERS", Why: "cannot be used",
			Fix: "give https://host:port or unix:///path, and headers as a JSON object", Err: err,
		}
	}
	cfg.HttpClient.Transport = &guard{cfg.HttpClient.Transport}
	c.ClearToken()
	c.ClearNamespace()
	// VAULT_WRAP_TTL would make the answers wrapping tokens.
	c.SetWrappingLookupFunc(func(string, string) string { return "" })
	if ns := v.Namespace.Or(""); ns != "" {
		c.SetNamespace(strings.Trim(ns, "/"))
	}
	return c, nil
}

// checkAddress refuses what the API module would take silently. The address
// may hold a password, so it is not repeated.
func checkAddress(a plan.Setting[string]) error {
	bad := func(why string) error {
		return &plan.Problem{
			Code: plan.CodeConfig, Origin: a.Origin, What: "Vault's address", Why: why,
			Fix: "give https://host:port or unix:///path",
		}
	}
	u, err := url.Parse(a.Value)
	switch {
	case err != nil:
		return bad("not a URL")
	case u.User != nil:
		return bad("must not hold a user or password")
	case u.Scheme == "unix" && u.Path != "":
		return nil
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("the scheme must be https, http or unix")
	case u.Hostname() == "":
		return bad("has no host")
	case u.RawQuery != "" || u.Fragment != "":
		return bad("must not have a query or a fragment")
	case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v1"):
		return bad("must not end in /v1, which is part of every request")
	}
	return nil
}

// setTransport applies TLS, proxy and connection limits.
func setTransport(cfg *api.Config, v plan.Vault) error {
	base, ok := cfg.HttpClient.Transport.(*http.Transport)
	if !ok {
		return fmt.Errorf("vault: unexpected transport %T", cfg.HttpClient.Transport)
	}
	t := v.TLS
	err := cfg.ConfigureTLS(&api.TLSConfig{
		CACert: t.CACert.Or(""), CACertBytes: []byte(t.CACertPEM.Or("")), CAPath: t.CAPath.Or(""),
		ClientCert: t.ClientCert.Or(""), ClientKey: t.ClientKey.Or(""),
		TLSServerName: t.ServerName.Or(""), Insecure: t.SkipVerify.Or(false),
	})
	if err != nil {
		return &plan.Problem{
			Code: plan.CodeConfig, Origin: firstOrigin(t), What: "TLS settings", Why: "a certificate or key cannot be read or used",
			Fix: "check that each file exists, is PEM, and that certificate and key belong together", Err: err,
		}
	}
	base.TLSClientConfig.InsecureSkipVerify = t.SkipVerify.Or(false)
	if p := v.Proxy.Or(""); p != "" {
		u, err := url.Parse(p)
		if err != nil || u.Host == "" {
			return &plan.Problem{Code: plan.CodeConfig, Origin: v.Proxy.Origin, What: "the proxy", Why: "not a URL", Fix: "give http://host:port"}
		}
		base.Proxy = http.ProxyURL(u)
	}
	n := v.Connections.Or(DefaultConnections)
	base.MaxConnsPerHost, base.MaxIdleConnsPerHost, base.MaxIdleConns = n, n, n
	cfg.HttpClient.Timeout = 0
	return nil
}

// checkFiles opens each TLS file or folder, so that a message can say which one
// it is about.
func checkFiles(t plan.TLS) error {
	var ps plan.Problems
	for _, one := range []struct {
		name string
		plan.Setting[string]
	}{{"CA certificate", t.CACert}, {"CA folder", t.CAPath}, {"client certificate", t.ClientCert}, {"client key", t.ClientKey}} {
		name, s := one.name, one.Setting
		if !s.IsSet {
			continue
		}
		f, err := openFile(s.Value)
		if err != nil {
			ps.Add(&plan.Problem{Code: plan.CodeConfig, Origin: s.Origin, What: name + " " + s.Value, Why: plan.PathCause(err), Fix: "check the path", Err: err})
			continue
		}
		_ = f.Close()
	}
	return ps.Err()
}

// openFile opens a file or folder; anything else, such as a pipe that nobody
// writes to, would hold whoever reads it.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() && !info.IsDir() {
		return nil, errors.Join(syscall.EINVAL, f.Close())
	}
	return f, nil
}

// CheckServer tells, without a request, what is wrong with the address and the
// TLS files. That no address was given is no problem yet.
func CheckServer(v plan.Vault) error {
	if !v.Address.IsSet {
		return nil
	}
	var ps plan.Problems
	ps.Add(checkAddress(v.Address))
	ps.Add(checkFiles(v.TLS))
	return ps.Err()
}

// firstOrigin gives the place of the first TLS setting that was made.
func firstOrigin(t plan.TLS) plan.Origin {
	for _, s := range []plan.Setting[string]{t.CACert, t.CACertPEM, t.CAPath, t.ClientCert, t.ClientKey} {
		if s.IsSet {
			return s.Origin
		}
	}
	return plan.Origin{}
}

// guard bounds the body of every answer, also of one that the API module reads
// by itself to make an error of it, and keeps net/http from repeating what must
// not be repeated.
type guard struct{ next http.RoundTripper }

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if once, _ := r.Context().Value(onceKey{}).(bool); once && r.Method == http.MethodGet {
		// net/http sends a GET again by itself when a kept-alive connection
		// breaks before the answer. It does not when there is a body that it
		// cannot get a second time; an empty one changes nothing on the wire.
		r = r.Clone(r.Context())
		r.Body, r.GetBody, r.ContentLength = io.NopCloser(strings.NewReader("")), nil, 0
	}
	resp, err := g.next.RoundTrip(r)
	if resp != nil && resp.StatusCode == http.StatusSwitchingProtocols {
		// Its body is the connection itself, which no context ends.
		return nil, errors.Join(errSwitched, resp.Body.Close())
	}
	if resp != nil && resp.Body != nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: MaxBody}
	}
	return resp, err
}

// errSwitched is an answer that leaves HTTP, which Vault never gives.
var errSwitched = errors.New("vault: the server switched protocols")

// onceKey marks the context of a request that must be sent only once.
type onceKey struct{}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	// One byte more than allowed tells "just full" from "too large".
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n, errTooLarge
	}
	return n, err
}
