package declare

import (
	"fmt"
	"net/url"

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
	case host == "":
		m.fail(mlflowURI, "it is not set, so it cannot be told whether its host is one that "+mlflowHosts+" allows", "set it to the server's URL")
	case !hosts.Allow(host):
		m.fail(mlflowURI, fmt.Sprintf("its host %q is none of those that %s allows: %s", host, mlflowHosts, hosts),
			"add the host to the list if it may get the credentials")
	}
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
