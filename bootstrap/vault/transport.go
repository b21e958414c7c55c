package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 256 << 10

// setAddress keeps the address in the form that requests are made from.
func (c *Client) setAddress(a plan.Setting[string]) error {
	if !a.IsSet {
		return &plan.Problem{
			Code: plan.CodeConfig, What: "Vault's address", Why: "not given",
			Fix: "set VAULT_ADDR or vault.address, or use --dev FILE for a local stand-in",
		}
	}
	if err := checkAddress(a); err != nil {
		return err
	}
	u, err := url.Parse(a.Value)
	if err != nil {
		return &plan.Problem{Code: plan.CodeBug, Origin: a.Origin, What: "Vault's address", Why: "changed under us"}
	}
	c.name, c.base = a.Value, url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}
	if u.Scheme == "unix" {
		c.base = url.URL{Scheme: "http", Host: "localhost"}
	}
	return nil
}

// checkAddress refuses what net/url would take silently. The address may hold a
// password, so it is not repeated.
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
	case u.Scheme == "unix" && u.Host != "":
		return bad("the socket's path must be absolute, after three slashes")
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

// setTransport makes the way to the server: TLS, proxy, socket, connections.
// HTTP/2 is used where the server speaks it, which it does over TLS only.
func (c *Client) setTransport(o Options, own *keyPair) error {
	var ps plan.Problems
	conf, err := tlsConfig(o.Vault.TLS, own)
	ps.Add(err)
	proxy, err := proxyOf(o)
	ps.Add(err)
	if err := ps.Err(); err != nil {
		return err
	}
	n := o.Vault.Connections.Or(plan.DefaultConnections)
	dialer := &net.Dialer{Timeout: tryTimeout, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy: proxy, DialContext: dialer.DialContext, TLSClientConfig: conf, ForceAttemptHTTP2: true,
		MaxConnsPerHost: n, MaxIdleConnsPerHost: n, MaxIdleConns: n,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			return &proxyRefusal{resp.StatusCode}
		},
		DisableCompression: true, // Vault does not compress, and a small answer must not become a large one
	}
	if path, ok := strings.CutPrefix(o.Vault.Address.Or(""), "unix://"); ok {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
	}
	c.http = t
	return nil
}

// proxyOf gives the proxy that the plan names, or else the platform's.
func proxyOf(o Options) (proxyFunc, error) {
	p := o.Vault.Proxy
	if p.Or("") == "" {
		return o.Proxy, nil
	}
	u, err := url.Parse(p.Value)
	if err != nil || u.Host == "" {
		return nil, &plan.Problem{Code: plan.CodeConfig, Origin: p.Origin, What: "the proxy", Why: "not a URL", Fix: "give http://host:port"}
	}
	return http.ProxyURL(u), nil
}

// transportOf makes a transport to a service of the platform, which is not
// Vault: none of Vault's settings apply.
func transportOf(proxy proxyFunc) http.RoundTripper {
	return &http.Transport{Proxy: proxy, TLSHandshakeTimeout: 10 * time.Second, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader}
}

// CheckServer tells, without a request, what is wrong with the address and the
// TLS files. That no address was given is no problem yet.
func CheckServer(v plan.Vault) error {
	if !v.Address.IsSet {
		return nil
	}
	var ps plan.Problems
	ps.Add(checkAddress(v.Address))
	_, err := tlsConfig(v.TLS, nil)
	ps.Add(err)
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

// keyPair is a client certificate that came as login inputs.
type keyPair struct{ cert tls.Certificate }
