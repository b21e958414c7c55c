package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Generation gives a function that reads, each path once, however often and
// under whichever name it is asked for: two files of one generation never see
// two versions of a secret.
//
// The function does what its plan.Read says: a GET, a LIST, or a PUT with the
// body, whose values are sent as JSON strings, or as the JSON that they are where
// plan.Handle.JSON says so. A missing secret or version is
// a *plan.Problem with plan.CodeMissing; the other codes are CodeDenied,
// CodeUnavailable, CodeProtocol and CodeConfig. It may be called from several
// goroutines at once.
func (c *Client) Generation() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	g := &generation{client: c, calls: map[string]*call{}}
	return g.read
}

// Attempt is Generation with one try for each request: what may pass is an error
// at once, for those who have waits of their own. RetryAfter tells what the server
// wants. A read that was refused because our token is gone is ErrTokenLost; an
// older server that does not say so is asked, with one request.
func (c *Client) Attempt() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	read := c.Generation()
	return func(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error) {
		return read(oneTry(ctx), r, body)
	}
}

// generation remembers what it has read by the path that was really asked.
type generation struct {
	client *Client
	mu     sync.Mutex
	calls  map[string]*call
}

// call is one request, done once by whoever comes first.
type call struct {
	once   sync.Once
	secret secret.Secret
	err    error
}

func (g *generation) read(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error) {
	return firstOf(r, func(one plan.Read) (secret.Secret, error) { return g.readOne(ctx, one, body) })
}

// readOne reads at one path as it is declared, which may be one of two of a KV
// mount that the server tells nothing about.
func (g *generation) readOne(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error) {
	paths, err := g.client.paths(ctx, r)
	if err != nil {
		return secret.Secret{}, plan.At(err, r.Origin)
	}
	s, first := g.readAt(ctx, r, paths[0], body)
	if first == nil {
		return s, nil
	}
	for _, path := range g.client.others(ctx, r, paths, first) {
		s, err := g.readAt(ctx, r, path, body)
		if err == nil {
			return s, nil
		}
		first = better(first, err, path, len(paths) > 1 && g.client.own().Len() > 0)
	}
	return secret.Secret{}, first
}

// better gives the error that says more of two tries at one secret, with both
// policy lines when they were guesses made with a token that has policies.
func better(first, second error, path string, guesses bool) error {
	firstCode, secondCode := plan.CodeOf(first), plan.CodeOf(second)
	if firstCode == plan.CodeConfig || firstCode == plan.CodeDenied && secondCode == plan.CodeMissing {
		return second
	}
	var p *plan.Problem
	if guesses && firstCode == plan.CodeDenied && !tokenRefused(first) && errors.As(first, &p) {
		q := *p
		q.Fix += "; or, for KV version 1, the same for " + path
		return &q
	}
	return first
}

// tokenRefused reports whether it is the token that was refused and not the path.
func tokenRefused(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.token
}

// readAt reads path, unless this generation did already. A write is never
// shared here: the caller knows which writes are one.
func (g *generation) readAt(ctx context.Context, r plan.Read, path string, body map[string]secret.Value) (secret.Secret, error) {
	if r.Op == plan.OpWrite {
		return g.client.readAt(ctx, r, path, body)
	}
	key := r.Op.String() + " " + path + " " + strconv.Itoa(r.Version)
	g.mu.Lock()
	one := g.calls[key]
	if one == nil {
		one = &call{}
		g.calls[key] = one
	}
	g.mu.Unlock()
	one.once.Do(func() { one.secret, one.err = g.client.readAt(ctx, r, path, body) })
	return one.secret, one.err
}

// others gives the further paths that are worth a try after a refusal: the
// other guess for a mount that nobody tells us about, or, where a path that
// seemed to say it is version 2 was refused, what the server says it is.
func (c *Client) others(ctx context.Context, r plan.Read, tried []string, err error) []string {
	code := plan.CodeOf(err)
	var f *fault
	noMount := errors.As(err, &f) && f.says("no handler for route")
	if len(tried) > 1 && (code == plan.CodeDenied || code == plan.CodeMissing || noMount) {
		return tried[1:]
	}
	if code != plan.CodeDenied && code != plan.CodeMissing || tokenRefused(err) {
		return nil
	}
	path := tried[0]
	if r.KV != plan.KVAuto || r.Op != plan.OpRead || !saysItself(path) {
		return nil
	}
	if _, _, known := c.kv.find(path); known {
		return nil
	}
	at, found, askErr := c.askMount(ctx, path)
	if askErr != nil {
		return nil
	}
	if p := byRule(r.Op, at, path, found.rule); p != path {
		return []string{p}
	}
	return nil
}

func (c *Client) readAt(ctx context.Context, r plan.Read, path string, body map[string]secret.Value) (secret.Secret, error) {
	ans, err := c.do(ctx, c.requestFor(r, path, body))
	if err != nil {
		err = c.readProblem(err, r, path)
		c.noteFailure(r, path, err)
		return secret.Secret{}, err
	}
	if ans.Data == nil && ans.Auth == nil && ans.Wrap == nil && r.Op != plan.OpWrite {
		return secret.Secret{}, &plan.Problem{
			Code: plan.CodeProtocol, Origin: r.Origin, What: "secret " + path, Why: "the answer holds no data",
			Fix: "check the path",
		}
	}
	got := ans.secret()
	if r.Version > 0 && !got.KV2 {
		return secret.Secret{}, noVersions(r, path)
	}
	c.note(r, path, ans, got)
	return got, nil
}

// noVersions is for a pinned version of a secret that has only one: giving the
// newest instead would drop what was asked for.
func noVersions(r plan.Read, path string) error {
	return &plan.Problem{
		Code: plan.CodeConfig, Origin: r.Origin, What: "secret " + path,
		Why: "version " + strconv.Itoa(r.Version) + " was asked for, and only KV version 2 has versions", Fix: "leave the version out",
	}
}

// requestFor builds the request. Only a KV read may be repeated after an
// ambiguous failure: any other path may make a new credential at each read.
func (c *Client) requestFor(r plan.Read, path string, body map[string]secret.Value) request {
	req := request{method: http.MethodGet, path: path, once: !c.kv.safe(path)}
	switch r.Op {
	case plan.OpList:
		req.method, req.once = "LIST", false
	case plan.OpWrite:
		req.method, req.once, req.mayBeEmpty = http.MethodPut, true, true
		req.body = bodyOf(body, r.Body)
	case plan.OpRead:
		if r.Version > 0 {
			req.params = url.Values{"version": {strconv.Itoa(r.Version)}}
		}
	}
	return req
}

// readProblem says what a failed read means: where it was declared, which
// version was deleted, which line the policy lacks.
func (c *Client) readProblem(err error, r plan.Read, path string) error {
	var f *fault
	if !errors.As(err, &f) {
		return plan.At(err, r.Origin)
	}
	if f.server && !f.passing {
		return c.serverProblem(f, err)
	}
	p := &plan.Problem{Code: f.code, Origin: r.Origin, What: "secret " + path, Why: f.why, Fix: f.fix, Err: err}
	if given, ok := c.login.(*tokenLogin); ok && tokenRefused(err) {
		p.Fix += "; this one is from " + given.from
	}
	if c.namespace != "" {
		p.What += " in namespace " + c.namespace
	}
	var whole *plan.Problem
	if errors.As(err, &whole) && f.passing {
		p.Why = whole.Why
	}
	switch f.code {
	case plan.CodeMissing:
		if f.says("no handler for route") { // no optional secret, but a mistake
			p.Code, p.Why, p.Fix = plan.CodeConfig, "no secrets engine is mounted there", "check the mount's name and the namespace"
			break
		}
		p.Why, p.Fix = whyMissing(f, r)
	case plan.CodeDenied:
		if p.Fix != "" {
			break
		}
		if c.own().Len() == 0 {
			p.Fix = "we send no token: see that the agent at this address logs in by itself and adds its token to requests (use_auto_auth_token)"
			break
		}
		p.Fix = `the policy may lack: path "` + path + `" { capabilities = ["` + capability(r.Op) + `"] }; check the namespace too`
	case plan.CodeConfig:
		p.Fix = "check that the path can be read, and whether it needs arguments"
		if r.Op == plan.OpWrite {
			p.Fix = "check the arguments, and the role or key that they are for; Vault's audit log has the request"
		}
	}
	if k, ok := known(f, engineRefusals()); ok {
		p.Why, p.Fix = k.why, k.fix
		p.Code = cmp.Or(k.code, p.Code)
	}
	return p
}

// serverProblem names the server and where its address was declared.
func (c *Client) serverProblem(f *fault, err error) error {
	return &plan.Problem{Code: f.code, Origin: c.address, What: "vault " + c.name, Why: f.why, Fix: f.fix, Err: err}
}

func capability(op plan.Op) string {
	return []string{"read", "update", "list"}[op]
}

// whyMissing tells an absent secret from a deleted or destroyed version and
// from a mount that is not there.
func whyMissing(f *fault, r plan.Read) (why, fix string) {
	if f.answer != nil {
		meta, _ := f.answer.Data["metadata"].(map[string]any)
		if destroyed, _ := meta["destroyed"].(bool); destroyed {
			return versioned(meta) + " is destroyed", "write a new version, or ask for another one"
		}
		if when, _ := meta["deletion_time"].(string); when != "" {
			if at, err := time.Parse(time.RFC3339Nano, when); err == nil {
				return versioned(meta) + " was deleted at " + at.UTC().Format(time.RFC3339), "undelete it, or ask for another version"
			}
		}
	}
	if r.Version > 0 {
		return "there is no version " + strconv.Itoa(r.Version), "check the path and the version"
	}
	return "there is no such secret", "check the path, or mark it optional"
}

func versioned(meta map[string]any) string {
	if n, ok := meta["version"].(json.Number); ok {
		return "version " + n.String()
	}
	return "the version"
}
