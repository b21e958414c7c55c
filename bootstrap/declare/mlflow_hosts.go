package declare

import (
	"fmt"
	"net/url"
	"path"
	"strings"
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
	var globs []string
	for glob := range strings.SplitSeq(list, ",") {
		if glob = strings.TrimSpace(glob); glob != "" {
			globs = append(globs, glob)
		}
	}
	if len(globs) == 0 {
		m.fail(mlflowHosts, "the list is empty, so no host may get the credentials", "name the hosts, or unset it")
		return
	}
	if host == "" {
		m.fail(mlflowURI, "it is not set, so it cannot be told whether its host is one that "+mlflowHosts+" allows", "set it to the server's URL")
		return
	}
	m.allow(mlflowURI, host, globs)
	if registry, ok := m.registryHost(); ok {
		m.allow(mlflowRegistry, registry, globs)
	}
}

// allow holds the host of one URI against the list. A host of other than the usual
// letters is refused whatever the list says: what a client makes of one (it maps
// U+FF0F to a slash, say) is not for us to foresee.
func (m *mlflow) allow(name, host string, globs []string) {
	if strings.ContainsFunc(host, unusualInHost) {
		m.fail(name, fmt.Sprintf("its host %q has other characters than letters, digits, hyphens and dots, so it cannot be held against %s", host, mlflowHosts),
			"write an international name in its xn-- form")
		return
	}
	allowed := false
	for _, glob := range globs {
		match, err := path.Match(hostGlob(glob), strings.ToLower(host))
		if err != nil {
			m.fail(mlflowHosts, fmt.Sprintf("%q is no pattern", glob), "write a host, or a pattern such as *.example.com")
			return
		}
		allowed = allowed || match
	}
	if !allowed {
		m.fail(name, fmt.Sprintf("its host %q is none of those that %s allows: %s", host, mlflowHosts, strings.Join(globs, ", ")),
			"add the host to the list if it may get the credentials")
	}
}

// unusualInHost reports what is in no host name; colons are in addresses.
func unusualInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:", r)
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

// hostGlob writes a pattern of Python's fnmatch as one of path.Match. In a host,
// which has no slash, the two differ in the sign for "none of these" alone. As
// there, *.example.com does not match example.com.
func hostGlob(glob string) string {
	return strings.ReplaceAll(strings.ToLower(glob), "[!", "[^")
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
