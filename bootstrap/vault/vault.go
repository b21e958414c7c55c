// Package vault is the client of HashiCorp Vault and OpenBao.
//
// [Prepare] checks everything that needs no network: the address, the TLS
// files, which login is meant, and that its inputs can be read. [Client.Login]
// gets a token, [Client.Generation] reads, [Client.Close] revokes what we got,
// [Client.Record] says what was done.
//
// Who keeps secrets fresh has waits of their own: [Client.Attempt],
// [Client.CurrentVersion], [Client.TokenLease], [Client.RenewToken],
// [Client.RenewLease] and [Client.Relogin] try once, and their errors tell what
// is gone for good: [ErrTokenLost], [ErrLeaseLost], [ErrNoRelogin].
//
// The contract of the client:
//
//   - a token never reaches a second host: a redirect is followed only to the
//     address itself or to a host that the plan lists;
//   - an answer is at most so many bytes, JSON, valid UTF-8, one value, and
//     never empty where one was needed;
//   - what can pass (sealed, starting, over quota, unreachable) is tried again
//     with growing, jittered waits until the context ends; what cannot pass
//     fails at once and says what to do;
//   - one generation reads each path once, however it was written down;
//   - what must not happen twice (to unwrap, a login with a secret id, a dynamic
//     read, a write) is not repeated once the server may have seen it, but for a
//     login that only a proxy's 502 answered;
//   - every lease and token that we own is known, and revoked by Close, that of a
//     login before among them; what is known does not grow with each refresh;
//   - no error holds a value, a token or a response body.
//
// It speaks HTTP by itself, without Vault's API module: that module sends the
// token wherever a redirect points, bounds no body, reads the process
// environment, and would have to be undone in each of these points.
//
// [PrepareDev] gives the same client over a local file, for laptops and tests.
package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// DefaultBodyLimit is the largest answer that is accepted, in bytes, when the
// plan does not say. Vault's own limit for a request is 32 MiB; a secret that
// is larger than this does not belong into an init container's memory.
const DefaultBodyLimit = 16 << 20

// tryTimeout bounds one try, so that a server that accepts and never answers
// costs one try and not the whole deadline.
const tryTimeout = 20 * time.Second

// closeTimeout bounds the revocation at the end, whatever is left of the deadline.
const closeTimeout = 3 * time.Second

// Options is what Prepare needs.
type Options struct {
	Vault   plan.Vault
	Login   plan.Login
	Resolve func(plan.Handle) ([]byte, error) // fetches a secret input
	Remove  func(plan.Handle) error           // removes the file of an input that is used up
	Proxy   proxyFunc                         // the platform's proxy; nil is none
	Log     *slog.Logger
}

type proxyFunc = func(*http.Request) (*url.URL, error)

// Client talks to one server as one identity. Its methods may be called from
// several goroutines at once, after Login.
type Client struct {
	http      http.RoundTripper
	base      url.URL // of the server, without the /v1/
	name      string  // the address, for messages
	namespace string
	headers   http.Header
	redirects []string
	limit     int64
	rate      *rate.Limiter // nil: none
	slots     chan struct{} // one per request that may be under way
	spare     int           // of slots: taken until it is known that HTTP/2 is spoken
	widen     sync.Once
	log       *slog.Logger
	kv        *mounts
	login     login
	loginAs   string // the namespace of the login

	address     plan.Origin // where the server's address was declared
	correlation string      // one for all requests of this client

	opening atomic.Bool   // somebody makes the first connection
	open    chan struct{} // closed when it is there

	doubts doubts

	mu       sync.Mutex
	session  *session   // never nil
	former   []*session // of logins before, oldest first, that Close has to revoke
	index    string     // what the server has to have seen before it answers us
	repeated *flight    // the login that is being repeated; nil: none
	closed   bool
	swept    bool            // Close has taken what there is to revoke
	blind    map[string]bool // folders and paths whose metadata we do not get
	book     book
}

// Prepare makes a client. It reads the files and login inputs that the options
// name but sends nothing. All problems are reported together, as
// plan.Problems with plan.CodeConfig.
func Prepare(o Options) (*Client, error) {
	var ps plan.Problems
	c := &Client{
		namespace: strings.Trim(o.Vault.Namespace.Or(""), "/"),
		redirects: o.Vault.Redirects.Or(nil),
		limit:     o.Vault.BodyLimit.Or(DefaultBodyLimit),
		slots:     make(chan struct{}, o.Vault.Connections.Or(plan.DefaultStreams)),
		kv:        newMounts(o.Vault.KV),
		log:       o.Log,
		address:   o.Vault.Address.Origin,
		open:      make(chan struct{}),
		session:   &session{},
		blind:     map[string]bool{},
		book:      newBook(),
	}
	if !o.Vault.Connections.IsSet {
		c.spare = plan.DefaultStreams - plan.DefaultConnections
		for range c.spare {
			c.slots <- struct{}{}
		}
	}
	c.correlation = rand.Text()
	c.loginAs = strings.Trim(o.Login.Namespace.Or(c.namespace), "/")
	if r := o.Vault.RateLimit; r.IsSet {
		c.rate = rate.NewLimiter(rate.Limit(r.Value.PerSecond), r.Value.Burst)
	}
	ps.Add(c.setAddress(o.Vault.Address))
	for _, ns := range []plan.Setting[string]{o.Vault.Namespace, o.Login.Namespace} {
		if !sendable([]byte(ns.Value)) {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: ns.Origin, What: "the namespace", Why: "has a space, a line break or another unprintable character in it", Fix: "give its path alone",
			})
		}
	}
	ps.Add(c.setHeaders(o.Vault, o.Resolve))
	if c.headers.Get(headerCorrelation) != "" {
		c.correlation = "" // it is the user's, and he knows it
	}
	how, err := chooseLogin(o)
	ps.Add(err)
	c.login = how
	var own *keyPair
	if cert, ok := how.(certLogin); ok {
		own = cert.pair
	}
	ps.Add(c.setTransport(o, own))
	if err := ps.Err(); err != nil {
		return nil, err
	}
	if o.Vault.TLS.SkipVerify.Or(false) {
		o.Log.Warn("the server's certificate is not checked: whoever is in between can read every secret",
			slog.String("declared", o.Vault.TLS.SkipVerify.Origin.String()))
	}
	return c, nil
}

// Login gets a token, or takes the one that was given.
func (c *Client) Login(ctx context.Context) error {
	return c.login.run(ctx, c)
}

// Token gives a copy of the token that we read with, as it is after Login. It is
// empty when we send none, because an agent in between adds its own.
func (c *Client) Token() secret.Value { return secret.New(bytes.Clone(c.own().Reveal())) }
