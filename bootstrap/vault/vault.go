// Package vault is the client of HashiCorp Vault and OpenBao, and the only
// importer of their API module.
//
// [Prepare] checks everything that needs no network: the address, the TLS
// files, which login is meant, and that its inputs can be read. [Client.Login]
// gets a token, [Client.Generation] reads, [Client.Close] revokes what we got.
//
// The contract of the client, where it differs from the API module's defaults:
//
//   - a redirect is never followed, so a token never reaches a second host;
//   - an answer is at most [MaxBody] bytes, valid UTF-8, one JSON value, and
//     never empty where one was needed;
//   - what can pass (sealed, starting, over quota, unreachable) is tried again
//     with growing, jittered waits until the context ends; what cannot pass
//     fails at once and says what to do;
//   - one generation reads each path once, however it was written down;
//   - what must not happen twice (a login, a dynamic read, a write) is not
//     repeated once the server may have seen it, but for a login that only a
//     proxy's 502 answered;
//   - no error holds a value, a token or a response body.
//
// [PrepareDev] gives the same client over a local file, for laptops and tests.
package vault

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// MaxBody is the largest answer that is accepted, in bytes. Vault's own limit
// for a request is 32 MiB; a secret that is larger than this does not belong
// into an init container's memory.
const MaxBody = 16 << 20

// DefaultConnections bounds the requests under way at once when the plan does
// not say.
const DefaultConnections = 16

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
	Log     *slog.Logger
}

// Client talks to one server as one identity. Its methods may be called from
// several goroutines at once, after Login.
type Client struct {
	api   *api.Client
	name  string // the address, for messages
	log   *slog.Logger
	login login
	kv    *mounts
	slots chan struct{} // one per request that may be under way

	mu     sync.Mutex
	owned  bool // the token came from our own login
	leases int  // leases that hang on the token
	closed bool
}

// Prepare makes a client. It reads the files and login inputs that the options
// name but sends nothing. All problems are reported together, as
// plan.Problems with plan.CodeConfig.
func Prepare(o Options) (*Client, error) {
	var ps plan.Problems
	ac, err := newAPI(o.Vault)
	ps.Add(err)
	how, err := chooseLogin(o.Login, o.Resolve)
	ps.Add(err)
	if err := ps.Err(); err != nil {
		return nil, err
	}
	if o.Vault.TLS.SkipVerify.Or(false) {
		o.Log.Warn("the server's certificate is not checked: whoever is in between can read every secret",
			slog.String("declared", o.Vault.TLS.SkipVerify.Origin.String()))
	}
	n := o.Vault.Connections.Or(DefaultConnections)
	return &Client{
		api:   ac,
		name:  o.Vault.Address.Value,
		log:   o.Log,
		login: how,
		kv:    newMounts(o.Vault.KV),
		slots: make(chan struct{}, n),
	}, nil
}

// Login gets a token, or takes the one that was given.
func (c *Client) Login(ctx context.Context) error { return c.login.run(ctx, c) }

// HasLeases reports whether a lease hangs on a token of ours: revoking the
// token would take away what was delivered.
func (c *Client) HasLeases() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leases > 0
}

// Close revokes the token if we got it by logging in, and with it every lease
// of ours. It may be called more than once, and after a failed or absent login.
// It takes at most three seconds, even when ctx has ended already.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	revoke := c.owned && !c.closed
	c.closed = true
	c.mu.Unlock()
	if !revoke {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_, err := c.do(ctx, request{method: "PUT", path: "auth/token/revoke-self", once: true, mayBeEmpty: true})
	if err != nil {
		return &plan.Problem{
			Code: plan.CodeOf(err), What: "revoke our token", Why: whyOf(err), Err: err,
			Fix: "it ends by itself when its TTL is over",
		}
	}
	c.log.Debug("token revoked")
	return nil
}

// whyOf gives the cause that a problem names, without the name of what failed.
func whyOf(err error) string {
	var p *plan.Problem
	if errors.As(err, &p) {
		return p.Why
	}
	return "unknown cause"
}
