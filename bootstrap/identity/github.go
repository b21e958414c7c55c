package identity

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// GitHub is a job of GitHub Actions. Its proof is jwt, the id token that GitHub
// makes for the job on demand
// (https://docs.github.com/en/actions/reference/security/oidc).
type GitHub struct {
	URL       secret.Value      // ACTIONS_ID_TOKEN_REQUEST_URL
	Token     secret.Value      // ACTIONS_ID_TOKEN_REQUEST_TOKEN
	Audience  string            // for whom; "": GitHub's default, the owner's address
	Transport http.RoundTripper // nil: direct, without a proxy
}

// permissionFix is what to do when a job cannot get a token. GitHub gives a job
// without the permission neither of the two variables.
const permissionFix = `give the job the permission "id-token: write"; pull requests from forks never have it`

// Proof gives jwt.
func (g GitHub) Proof(ctx context.Context) (Proof, error) {
	var ps plan.Problems
	to, err := g.address()
	ps.Add(err)
	ps.Add(header("ACTIONS_ID_TOKEN_REQUEST_TOKEN", permissionFix, g.Token))
	if err := ps.Err(); err != nil {
		return nil, err
	}
	c := call{
		what: "the id token of this GitHub Actions job", who: "GitHub",
		method: http.MethodGet, url: to, timeout: tryTimeout, via: g.Transport,
		header: map[string]string{"Authorization": "Bearer " + string(g.Token.Reveal()), "Accept": "application/json"},
		fixes: map[int]string{
			http.StatusUnauthorized: permissionFix + "; the request token ends with the job",
			http.StatusForbidden:    permissionFix,
			http.StatusNotFound:     "leave ACTIONS_ID_TOKEN_REQUEST_URL as the runner sets it",
			http.StatusBadRequest:   "check vault.auth.audience",
		},
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := c.ask(ctx, &answer); err != nil {
		return nil, err
	}
	return proofOf(c.jwt(answer.Value))
}

// address is the URL that the runner gives with the audience added. Whatever
// query is there already stays as it is.
func (g GitHub) address() (string, error) {
	bad := func(why, fix string) (string, error) {
		return "", &plan.Problem{Code: plan.CodeConfig, What: "ACTIONS_ID_TOKEN_REQUEST_URL", Why: why, Fix: fix}
	}
	if g.URL.Len() == 0 {
		return bad("not given", permissionFix)
	}
	u, err := url.Parse(string(g.URL.Reveal()))
	if err != nil {
		return bad("is not a URL", "leave it as the runner sets it")
	}
	if why := unfit(u, true); why != "" {
		return bad(why, "leave it as the runner sets it")
	}
	if g.Audience != "" {
		if u.RawQuery != "" && !strings.HasSuffix(u.RawQuery, "&") {
			u.RawQuery += "&"
		}
		u.RawQuery += "audience=" + escape(g.Audience)
	}
	return u.String(), nil
}

// escape writes s for a query with %20 for a space: a plus sign means a space in
// forms only.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// proofOf is the proof of a login that takes a token and nothing else.
func proofOf(jwt secret.Value, err error) (Proof, error) {
	if err != nil {
		return nil, err
	}
	return Proof{"jwt": jwt}, nil
}
