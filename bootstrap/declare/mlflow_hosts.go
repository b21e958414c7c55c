package declare

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// destination holds the tracking server against the hosts that may get the
// credentials. Without a list every server may, as in the original; with one, a
// server that nobody named may not.
func (m *mlflow) destination() {
	host, ok := m.trackingHost()
	list := m.text(mlflowHosts)
	if !ok || list == "" {
		return
	}
	hosts, err := plan.ParseHosts(list)
	switch {
	case err != nil:
		m.fail(mlflowHosts, err.Error(), "name the hosts, with patterns such as *.example.com, or unset it")
		return
	case host == "":
		m.fail(mlflowURI, "it is not set, so it cannot be told whether its host is one that "+mlflowHosts+" allows", "set it to the server's URL")
		return
	}
	m.allow(mlflowURI, host, hosts)
	if registry, ok := m.registryHost(); ok {
		m.allow(mlflowRegistry, registry, hosts)
	}
}

// allow holds the host of one URI against the list.
func (m *mlflow) allow(name, host string, hosts plan.Hosts) {
	if !hosts.Allow(host) {
		m.fail(name, fmt.Sprintf("its host %q is none of those that %s allows: %s", host, mlflowHosts, hosts),
			"add the host to the list if it may get the credentials; an international name is written in its xn-- form")
	}
}

// registryHost gives the host of a model registry of its own, which MLflow's client
// gives the same credentials. The original does not look at it. One that is no
// server, such as a database, gets none.
func (m *mlflow) registryHost() (host string, ok bool) {
	text := m.text(mlflowRegistry)
	scheme, _, _ := strings.Cut(text, ":")
	if scheme = strings.ToLower(scheme); scheme != "http" && scheme != "https" {
		return "", false
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		m.fail(mlflowRegistry, "it is no URL", "write https://HOST, or unset it")
		return "", false
	}
	return u.Hostname(), true
}

// trackingHost gives the host of the tracking server; "" where none is set. The
// URL may have a password in it and is not repeated.
func (m *mlflow) trackingHost() (host string, ok bool) {
	text := m.text(mlflowURI)
	if text == "" {
		return "", true
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		m.fail(mlflowURI, "it is no URL of an http or https server, and nothing else takes the credentials", "write https://HOST")
		return "", false
	}
	return u.Hostname(), true
}
