package doctor

import (
	"context"
	"encoding/base64"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Question is one request with credentials.
type Question struct {
	URL           string
	Authorization secret.Value // the header's value
}

// The variables that MLflow's own client takes its credentials from, and the one
// that says which hosts may have them.
const (
	trackingToken    = "MLFLOW_TRACKING_TOKEN"
	trackingUser     = "MLFLOW_TRACKING_USERNAME"
	trackingPassword = "MLFLOW_TRACKING_PASSWORD"
	allowedHosts     = "MLFLOW_SECRETS_ALLOWED_HOSTS"
)

func isTracking(name string) bool {
	return name == trackingToken || name == trackingUser || name == trackingPassword
}

// probe tries the delivered credentials at a server.
func (e *exam) probe(ctx context.Context) {
	if e.order.Probe == "" {
		return
	}
	u, err := e.target()
	if err != nil {
		e.fail(stepProbe, "", err)
		return
	}
	if e.session == nil {
		e.skip(stepProbe, u.Host, e.asNobody)
		return
	}
	header, why := e.authorization()
	if why != "" {
		e.skip(stepProbe, u.Host, why)
		return
	}
	defer header.Wipe()
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	status, err := e.world.Ask(ctx, Question{URL: u.String(), Authorization: header})
	if err != nil {
		e.fail(stepProbe, u.Host, err)
		return
	}
	e.answered(u, status)
}

// target checks the URL before anything is sent there.
func (e *exam) target() (*url.URL, error) {
	u, err := url.Parse(e.order.Probe)
	bad := func(code plan.Code, what, why, fix string) error {
		return &plan.Problem{Code: code, Origin: plan.Origin{Front: "flag", At: "--probe"}, What: what, Why: why, Fix: fix}
	}
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, bad(plan.CodeUsage, "--probe", "not a URL", "give https://host[:port][/path]")
	case u.User != nil:
		return nil, bad(plan.CodeUsage, "--probe", "must not hold a user or password", "the plan's credentials are sent")
	}
	list, _ := e.world.Lookup(allowedHosts)
	if strings.TrimSpace(list) == "" {
		return u, nil
	}
	hosts, err := plan.ParseHosts(list)
	switch {
	case err != nil:
		return nil, bad(plan.CodeConfig, allowedHosts, err.Error(), "name the hosts, or unset it")
	case !hosts.Allow(u.Hostname()):
		return nil, bad(plan.CodeConfig, "host "+u.Hostname(), "is none that "+allowedHosts+" allows", "probe the tracking server itself, or add its host to the list")
	}
	return u, nil
}

// authorization makes the header of what was rendered. MLflow's client takes a
// user and a password before a token, so that is what is tried.
func (e *exam) authorization() (header secret.Value, why string) {
	user, password := e.kept[trackingUser], e.kept[trackingPassword]
	switch token := e.kept[trackingToken]; {
	case user.Len() > 0 && password.Len() > 0:
		pair := append(append(append([]byte(nil), user.Reveal()...), ':'), password.Reveal()...)
		defer clear(pair)
		return secret.New(append([]byte("Basic "), base64.StdEncoding.AppendEncode(nil, pair)...)), ""
	case token.Len() > 0:
		return secret.New(append([]byte("Bearer "), token.Reveal()...)), ""
	}
	return secret.Value{}, "the plan gives neither " + trackingToken + " nor " + trackingUser + " and " + trackingPassword
}

// answered judges the status. A redirect was not followed: the credentials are
// for the host that was asked.
func (e *exam) answered(u *url.URL, status int) {
	said := "status " + strconv.Itoa(status)
	fail := func(code plan.Code, why, fix string) {
		e.add(Finding{Step: stepProbe, Subject: u.Host, Status: Fail, Detail: why + " (" + said + ")", Fix: fix, Code: code})
	}
	switch {
	case status == 401 || status == 403:
		fail(plan.CodeDenied, "the server refuses the credentials", "check the secret, and what its user may do there")
	case status >= 500 || status == 429:
		fail(plan.CodeUnavailable, "the server cannot answer", "see how the server is")
	case status >= 300 && status < 400: // to a page for logging in, as often as not
		e.warn(stepProbe, u.Host, "the server did not refuse the credentials, but sends elsewhere, and they did not go there ("+said+")", "probe the place that it leads to, if that is the tracking server")
	case status >= 400 || status < 200:
		e.warn(stepProbe, u.Host, "the server did not refuse the credentials, but has nothing at this path ("+said+")", "give a path that needs a login, such as /api/2.0/mlflow/experiments/get-by-name?experiment_name=Default")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		e.warn(stepProbe, u.Host, "the credentials are accepted ("+said+"), and were sent in the clear: the address is http", "use https")
	default:
		e.ok(stepProbe, u.Host, "the credentials are accepted ("+said+")")
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
