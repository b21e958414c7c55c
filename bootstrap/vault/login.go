package vault

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/identity"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// login gets a token for a client.
type login interface {
	run(ctx context.Context, c *Client) error

	// renew gives the client a token that may have taken the place of the one
	// that was just refused, and reports whether there is one.
	renew(c *Client, refused *session) bool

	// again tells why run cannot be called a second time, or not now.
	again(c *Client) error
}

// input is one fetched input of a login.
type input struct {
	handle  plan.Handle
	value   secret.Value // as it was when we looked first
	resolve func(plan.Handle) ([]byte, error)
	used    bool
	removed bool // we have removed its file, and nobody has made another one since
}

// fresh gives the input, read again from the second time on: the platform
// replaces a projected token while we wait for Vault. What cannot be read again,
// such as a pipe, stays as it was.
func (i *input) fresh() secret.Value {
	if i.used && i.handle.Kind == plan.HandleFile {
		if text, err := i.resolve(i.handle); err == nil {
			i.value, i.removed = secret.New(text), false
		}
	}
	i.used = true
	return i.value
}

// inputs are what a method is built from.
type inputs struct {
	options Options
	method  method
	by      map[string]*input
	from    []string // the places, for messages
}

func (in inputs) param(name string) string { return in.options.Login.Params[name].Or("") }

// value gives an input that does not change; the empty Value when there is none.
func (in inputs) value(name string) secret.Value {
	if i := in.by[name]; i != nil {
		return i.value
	}
	return secret.Value{}
}

// noLogin sends no token: whoever is at the address adds its own.
type noLogin struct{}

func (noLogin) run(_ context.Context, c *Client) error {
	c.begin(receipt.Login{Method: "none"})
	c.log.Info("sending no token of our own")
	return nil
}

func (noLogin) renew(*Client, *session) bool { return false }

// tokenLogin uses a token that was given to us. It is never revoked.
type tokenLogin struct {
	token   *input
	wrapped *wrapping // nil: it is not wrapped
	from    string
}

func (t *tokenLogin) run(ctx context.Context, c *Client) error {
	as := receipt.Login{Method: "token", Namespace: c.loginAs}
	c.begin(as)
	token, err := t.get(ctx, c)
	if err != nil {
		return err
	}
	c.log.Info("using a token that was given to us", slog.String("from", t.from))
	return plan.At(c.adopt(&session{token: token}, as), plan.Origin{Front: "login", At: t.from})
}

func (t *tokenLogin) get(ctx context.Context, c *Client) (secret.Value, error) {
	if t.wrapped == nil {
		return t.token.fresh(), nil
	}
	ans, err := c.unwrap(ctx, *t.wrapped)
	if err != nil {
		return secret.Value{}, err
	}
	if ans.Auth == nil || ans.Auth.ClientToken == "" {
		return secret.Value{}, t.wrapped.problem(plan.CodeProtocol, "it held no token", "wrap a token, as `vault token create -wrap-ttl` does")
	}
	return secret.New([]byte(ans.Auth.ClientToken)), nil
}

// renew looks whether the file holds another token by now: whoever keeps it
// fresh has replaced it.
func (t *tokenLogin) renew(c *Client, refused *session) bool {
	if t.wrapped != nil || t.token.handle.Kind != plan.HandleFile {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != refused {
		return true // another request was refused before this one, and took the new token over
	}
	text, err := t.token.resolve(t.token.handle)
	if err != nil || string(text) == string(refused.token.Reveal()) || !sendable(text) {
		return false
	}
	c.log.Info("the token was refused and its file has another one", slog.String("from", t.from))
	c.replace(&session{token: secret.New(text)})
	return true
}

// sendable reports whether a token can be sent in a header.
func sendable(token []byte) bool {
	for _, b := range token {
		if b <= 0x20 || b >= 0x7f {
			return false
		}
	}
	return true
}

// postLogin is a login by a request with a JSON body: every method but a token
// that is there already.
type postLogin struct {
	method, mount, role string
	from                string // where the inputs came from
	path                string // what follows /login
	proof               func(context.Context) (identity.Proof, error)
	wrapped             *wrapping // of the secret id; nil: it is not wrapped
	secretID            *input    // which is wrapped or not; nil: there is none
	once                bool      // its inputs may be good for one use only
	used                func()    // called when the inputs are used up; may be nil

	kept *unwrapped     // the secret id that was wrapped; nil: it still is
	last identity.Proof // what was sent last, to explain a refusal
	made int            // logins
}

// renew has a request repeated that was refused with the token of a login
// before.
func (*postLogin) renew(c *Client, refused *session) bool { return c.using() != refused }

// run logs in. A login whose inputs may be good for one use only is not
// repeated once the server may have seen it. A 502 is the exception: a proxy in
// front of a restarting Vault answers so, and to fail at once would break every
// start behind it. Should Vault have seen the login after all, the next one is
// refused and says so, or an unused token is left to its TTL.
func (p *postLogin) run(ctx context.Context, c *Client) error {
	c.begin(receipt.Login{Method: p.method, Mount: p.mount, Role: p.role, Namespace: c.loginAs})
	gateway := true
	if p.wrapped != nil {
		if err := p.unwrap(ctx, c); err != nil {
			return err
		}
		gateway, p.once = !p.kept.limited, p.kept.limited
	}
	body := func(ctx context.Context) ([]byte, error) {
		members, err := p.proof(ctx)
		if err != nil {
			return nil, p.unproven(c, err)
		}
		if p.wrapped != nil {
			members["secret_id"] = p.kept.id
		}
		p.last = members
		return encode(members, nil)
	}
	ans, err := c.do(ctx, request{
		method: http.MethodPut, path: "auth/" + p.mount + "/login" + p.path, body: body,
		token: nobody(), login: true, once: p.once, gateway: gateway, linger: true,
	})
	if err != nil {
		return p.refused(c, err)
	}
	if p.wrapped == nil {
		p.done()
	}
	return p.accept(c, ans)
}

// unproven says which login the platform gave no proof for.
func (p *postLogin) unproven(c *Client, err error) error {
	var ps plan.Problems
	var one *plan.Problem
	if !errors.As(err, &ps) && !errors.As(err, &one) {
		return err // the end of the context
	}
	if ps == nil {
		ps = plan.Problems{one}
	}
	for i, q := range ps {
		told := *q
		told.What, told.Origin = p.what(c)+": "+q.What, p.origin()
		ps[i] = &told
	}
	return ps.Err()
}

func (p *postLogin) done() {
	if p.used != nil {
		p.used()
	}
}

// accept keeps the token of a login's answer.
func (p *postLogin) accept(c *Client, ans *answer) error {
	if ans.Auth == nil || ans.Auth.ClientToken == "" {
		return &plan.Problem{
			Code: plan.CodeProtocol, Origin: p.origin(), What: p.what(c), Why: "the answer holds no token",
			Fix: "check that the mount is an auth method and that VAULT_ADDR is Vault",
		}
	}
	a, now := ans.Auth, time.Now()
	batch := a.TokenType == "batch" // it can be neither revoked nor renewed
	s := &session{
		token: secret.New([]byte(a.ClientToken)), owned: !batch, limited: a.NumUses > 0, told: true, since: now,
		lease: secret.Lease{TTL: seconds(a.LeaseDuration), Renewable: a.Renewable && !batch},
	}
	as := receipt.Login{
		Method: p.method, Mount: p.mount, Role: p.role, Namespace: c.loginAs, RequestID: ans.RequestID, EntityID: a.EntityID, Accessor: a.Accessor,
		Policies: a.Policies, TokenType: a.TokenType, Expires: receipt.After(now, seconds(a.LeaseDuration)), Metadata: a.Metadata,
	}
	if err := c.adopt(s, as); err != nil {
		return &plan.Problem{Code: plan.CodeProtocol, Origin: p.origin(), What: p.what(c), Why: "the answer's token has unprintable characters", Fix: "check that VAULT_ADDR is Vault"}
	}
	p.made++
	if p.kept != nil {
		p.kept.left--
	}
	c.log.Info("logged in", slog.String("method", p.method), slog.String("mount", p.mount),
		slog.String("from", p.from), slog.String("accessor", a.Accessor), slog.Any("policies", a.Policies),
		slog.Int64("ttl_s", a.LeaseDuration))
	return nil
}

// what names the login with all that must be right about it. A user's name is
// left out: it is an input.
func (p *postLogin) what(c *Client) string {
	s := "login " + p.method + " at auth/" + p.mount + "/login"
	if p.role != "" {
		s += ", role " + p.role
	}
	if c.loginAs != "" {
		s += ", namespace " + c.loginAs
	}
	return s
}

// origin names the places that the inputs came from.
func (p *postLogin) origin() plan.Origin { return plan.Origin{Front: "login", At: p.from} }

// refused adds what a refused login usually comes from.
func (p *postLogin) refused(c *Client, err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	if f.server && !f.passing {
		return c.serverProblem(f, err)
	}
	out := &plan.Problem{Code: f.code, Origin: p.origin(), What: p.what(c), Why: f.why, Fix: f.fix, Err: err}
	var whole *plan.Problem
	if errors.As(err, &whole) && f.passing {
		out.Why = whole.Why
		return out
	}
	if f.code != plan.CodeDenied && f.code != plan.CodeConfig && f.code != plan.CodeMissing {
		return out
	}
	out.Code = plan.CodeDenied
	if r, ok := known(f, loginRefusals()); ok {
		out.Why, out.Fix = r.why, r.fix
	}
	if p.spent(f) {
		out.Err = errors.Join(ErrNoRelogin, err)
	}
	if out.Fix == "" {
		out.Fix = "check vault.auth.mount, VAULT_NAMESPACE, the role, and what it is bound to"
	}
	if isToken(p.last["secret_id"]) {
		out.Fix = "what was given as the secret id looks like a token: if it is a wrapped one, give it as secret_id_wrapped; " + out.Fix
	}
	if p.method == "approle" && p.secretID == nil && out.Why == whyIDs {
		out.Fix = "no secret id was given: set VAULT_SECRET_ID or VAULT_SECRET_ID_FILE, unless the role does without (bind_secret_id); " + out.Fix
	}
	p.explainToken(out)
	return out
}

// explainToken says what the refused token of the platform says of itself: that
// it is over, which is reason enough, or whom it is for, which is what a role
// is bound to. Neither is secret.
func (p *postLogin) explainToken(out *plan.Problem) {
	jwt, ok := p.last["jwt"]
	if !ok {
		return
	}
	end, ok := identity.ExpiresAt(jwt.Reveal())
	if ago := time.Since(end); ok && ago > 0 {
		out.Why = "the platform's token expired at " + end.UTC().Format(time.RFC3339) + ", " + ago.Round(time.Second).String() + " ago"
		out.Fix = "see why the platform does not renew it, and that our clock is right"
		return
	}
	claims, ok := identity.ClaimsOf(jwt.Reveal())
	if !ok {
		return
	}
	var says []string
	for _, claim := range [][2]string{{"iss", claims.Issuer}, {"sub", claims.Subject}, {"aud", strings.Join(claims.Audience, "+")}} {
		if text := word(claim[1]); text != "" {
			says = append(says, claim[0]+" "+text)
		}
	}
	if len(says) > 0 {
		out.Why += " (the token says: " + strings.Join(says, ", ") + ")"
	}
}

// isToken reports whether a value begins as Vault's tokens do
// (https://developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes).
func isToken(v secret.Value) bool {
	return bytes.HasPrefix(v.Reveal(), []byte("hvs.")) || bytes.HasPrefix(v.Reveal(), []byte("s."))
}

// mountOr gives the mount of a login without the auth/ that some write.
func mountOr(l plan.Login, def string) string {
	if m := strings.TrimPrefix(strings.Trim(l.Mount.Or(""), "/"), "auth/"); m != "" {
		return m
	}
	return def
}
