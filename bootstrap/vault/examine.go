package vault

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Way is how requests reach the server.
type Way struct {
	Network string      // tcp or unix
	Address string      // host:port that is dialled, or the socket's path
	Server  string      // host:port of the server itself
	Proxied bool        // Address is a proxy's
	TLS     *tls.Config // nil: the server speaks no TLS
}

// Way tells how requests reach the server, without sending one. The error is a
// *plan.Problem: the proxy cannot be told.
func (c *Client) Way() (Way, error) {
	if path, ok := strings.CutPrefix(c.name, "unix://"); ok {
		return Way{Network: "unix", Address: path, Server: path}, nil
	}
	w := Way{Network: "tcp", Server: withPort(c.base.Hostname(), c.base.Port(), c.base.Scheme)}
	w.Address = w.Server
	t, ok := c.http.(*http.Transport)
	if !ok {
		return w, nil
	}
	if c.base.Scheme == "https" {
		w.TLS = t.TLSClientConfig.Clone()
		w.TLS.ServerName = cmp.Or(w.TLS.ServerName, c.base.Hostname())
	}
	if t.Proxy == nil {
		return w, nil
	}
	proxy, err := t.Proxy(&http.Request{URL: &c.base})
	if err != nil { // its text holds the proxy's address, which may hold a password
		return Way{}, &plan.Problem{
			Code: plan.CodeConfig, Origin: c.address, What: "the proxy", Why: "its address is no URL", Fix: "check VAULT_PROXY_ADDR and HTTPS_PROXY", Err: err,
		}
	}
	if proxy != nil {
		w.Address, w.Proxied = withPort(proxy.Hostname(), proxy.Port(), proxy.Scheme), true
	}
	return w, nil
}

// withPort gives host:port, with the scheme's own port where none is given.
func withPort(host, port, scheme string) string {
	usual := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	return net.JoinHostPort(host, cmp.Or(port, usual[scheme]))
}

// Health is what a server says of itself to anybody
// (https://developer.hashicorp.com/vault/api-docs/system/health).
type Health struct {
	Initialized bool
	Sealed      bool
	Standby     bool   // it passes requests on to the active node
	Secondary   bool   // a disaster recovery secondary: it serves no requests
	Version     string // as it says it
	Cluster     string // its name

	Now time.Time // the server's clock when it answered, in whole seconds; zero: not told
	At  time.Time // ours at the middle of the request
}

// maxHealth bounds the answer to Health, in bytes.
const maxHealth = 64 << 10

// Health asks the server how it is, once, without a token and without a
// namespace: only the root namespace has this path. A server that is sealed or a
// standby answers too. The error is a *plan.Problem with CodeUnavailable for no
// answer and CodeProtocol for one that is not Vault's.
func (c *Client) Health(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	began := time.Now()
	resp, err := c.send(ctx, request{method: http.MethodGet, path: "sys/health", token: nobody(), rootNamespace: true}, nil)
	if err != nil {
		return Health{}, c.unwell(transportFault(err, false))
	}
	defer resp.Body.Close()
	took := time.Since(began)
	body, err := readBody(resp, maxHealth)
	if err != nil {
		return Health{}, c.unwell(bodyFault(err, maxHealth))
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return Health{}, c.unwell(redirectFault(resp))
	}
	h, ok := healthOf(body)
	if !ok || !isJSON(resp) {
		return Health{}, c.unwell(&fault{
			code: plan.CodeProtocol, why: "the answer is not Vault's" + whose(resp), fix: "check that the address is Vault's and not a proxy's or portal's",
		})
	}
	h.At = began.Add(took / 2)
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		h.Now = at
	}
	return h, nil
}

// unwell names the server and where its address was declared.
func (c *Client) unwell(f *fault) error {
	f.fix = cmp.Or(f.fix, "see that Vault is up and reachable from here")
	return c.serverProblem(f, f)
}

// healthOf reads the answer; ok is false where it is not one of Vault's.
func healthOf(body []byte) (h Health, ok bool) {
	var said struct {
		Initialized, Sealed, Standby *bool
		Mode                         string `json:"replication_dr_mode"`
		Version                      string
		Cluster                      string `json:"cluster_name"`
	}
	if json.Unmarshal(body, &said) != nil || said.Initialized == nil || said.Sealed == nil {
		return Health{}, false
	}
	return Health{
		Initialized: *said.Initialized, Sealed: *said.Sealed, Standby: said.Standby != nil && *said.Standby,
		Secondary: said.Mode == "secondary", Version: word(said.Version), Cluster: word(said.Cluster),
	}, true
}

// UsesUp says what a login would use up, "" for nothing. What a secret id is
// good for only the server knows, so one that is given as it is counts as if it
// were good for a limited number of logins.
func (c *Client) UsesUp() string {
	switch l := c.login.(type) {
	case *tokenLogin:
		if l.wrapped != nil {
			return "a wrapped token"
		}
	case *postLogin:
		switch {
		case l.wrapped != nil:
			return "a wrapped secret id"
		case l.once:
			return "one use of the secret id, if its uses are limited"
		}
	}
	return ""
}

// Identity is who a token is to the server.
type Identity struct {
	DisplayName, Accessor, Type string
	Policies                    []string
	TTL                         time.Duration // 0: it does not end by itself
	Uses                        int64         // how many requests it is still good for; 0: any number
	Given                       bool          // it was given to us, and will not be revoked
}

// Whoami asks who the client's token is; that takes one of its uses. Where the
// policy forbids it the error has plan.CodeDenied.
func (c *Client) Whoami(ctx context.Context) (Identity, error) {
	ans, err := c.do(ctx, request{method: http.MethodGet, path: "auth/token/lookup-self", login: true})
	if err != nil {
		return Identity{}, err
	}
	text := func(name string) string { s, _ := ans.Data[name].(string); return s }
	count := func(name string) int64 {
		number, _ := ans.Data[name].(json.Number)
		n, err := number.Int64()
		if err != nil {
			return 0
		}
		return n
	}
	id := Identity{
		DisplayName: text("display_name"), Accessor: text("accessor"), Type: text("type"),
		Policies: append(textsOf(ans.Data["policies"]), textsOf(ans.Data["identity_policies"])...),
		TTL:      time.Duration(count("ttl")) * time.Second, Uses: count("num_uses"),
	}
	_, id.Given = c.login.(*tokenLogin)
	return id, nil
}

// textsOf gives the texts of a JSON list.
func textsOf(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, one := range list {
		if s, ok := one.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// Kind says what is known of the mount that a path is in.
type Kind uint8

// The kinds. Reading in KindKV changes nothing; reading in KindOther may make a
// credential; of KindUnknown the server says nothing.
const (
	KindUnknown Kind = iota
	KindKV
	KindOther
)

// Place is where a read goes.
type Place struct {
	Paths []string // as they are asked, best first; several where the server does not say
	Kind  Kind
}

// Locate tells where a read goes and what it would meet there. The server is
// asked about the mount even where the path seems to say it: a path with data/
// in it need not be one of KV version 2. Errors are as those of Generation.
func (c *Client) Locate(ctx context.Context, r plan.Read) (Place, error) {
	path := plan.SplitPath(r.Path)
	var place Place
	_, found, ok := c.kv.find(path)
	if !ok {
		var err error
		_, found, err = c.askMount(ctx, path)
		if ok = err == nil; !ok && !errors.Is(err, errNotTold) {
			return Place{}, plan.At(err, r.Origin)
		}
	}
	switch {
	case ok && found.kv, !ok && (saysItself(path) || r.KV == plan.KV2):
		place.Kind = KindKV
	case ok:
		place.Kind = KindOther
	}
	var err error
	place.Paths, err = c.paths(ctx, r)
	return place, plan.At(err, r.Origin)
}

// Capabilities asks what the client's token may do at each path
// (https://developer.hashicorp.com/vault/api-docs/system/capabilities-self).
func (c *Client) Capabilities(ctx context.Context, paths []string) (map[string][]string, error) {
	body := func(context.Context) ([]byte, error) { return json.Marshal(map[string][]string{"paths": paths}) }
	ans, err := c.do(ctx, request{method: http.MethodPut, path: "sys/capabilities-self", body: body})
	if err != nil {
		return nil, err
	}
	may := map[string][]string{}
	for _, path := range paths {
		if list, there := ans.Data[path]; there {
			may[path] = textsOf(list)
		}
	}
	return may, nil
}

// NetworkCause says in words why a request got no answer. It holds no URL and
// nothing that a server said.
func NetworkCause(err error) string { return classify(err, false).why }

// TokenRefused reports whether it is the token that was refused, and not what
// was asked.
func TokenRefused(err error) bool { return tokenRefused(err) }
