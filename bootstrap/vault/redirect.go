package vault

import (
	"net/http"
	"net/url"
	"strings"
)

// maxRedirects bounds how often one request is sent on: a standby knows the
// active node, so one is enough, and a change of leader meanwhile needs another.
const maxRedirects = 3

// redirect decides whether an answer sends us on, with the token, to another
// place: only for the same request (path and query), never from https to http,
// and only to the same host and port or to a host that the plan lists. A
// standby node answers so when it does not forward
// (https://developer.hashicorp.com/vault/docs/concepts/ha).
func (c *Client) redirect(from *url.URL, resp *http.Response) (*url.URL, bool) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, false
	}
	location := resp.Header.Get("Location")
	to, err := from.Parse(location)
	if err != nil || location == "" || !plainHost(to.Host) || to.User != nil || to.Path != from.Path || to.RawQuery != from.RawQuery {
		return nil, false
	}
	upgrade := from.Scheme == "http" && to.Scheme == "https"
	if to.Scheme != from.Scheme && !upgrade {
		return nil, false
	}
	same := hostPort(to) == hostPort(from) ||
		upgrade && strings.EqualFold(to.Hostname(), from.Hostname()) && strings.HasSuffix(hostPort(from), ":80") && strings.HasSuffix(hostPort(to), ":443")
	return to, same || listed(to, c.redirects)
}

// plainHost reports whether a host is compared as it will be dialled: net/http
// dials the IDNA form of a name, so that one with other letters in it may be
// another host than it looks (U+0130 is an i in lower case, and no i in DNS).
func plainHost(host string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"
	return strings.Trim(host, plain) == "" && host != ""
}

// hostPort gives the host in lower case with its port, the scheme's own when
// none is written.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// listed reports whether one of the entries (host, host:port, *.domain,
// *.domain:port) allows the place. One without a port allows every port.
func listed(to *url.URL, entries []string) bool {
	for _, entry := range entries {
		e, err := url.Parse("//" + strings.ToLower(entry))
		if err != nil || e.Port() != "" && hostPort(to) != strings.ToLower(to.Hostname())+":"+e.Port() {
			continue
		}
		name, host := e.Hostname(), strings.ToLower(to.Hostname())
		if suffix, wild := strings.CutPrefix(name, "*"); name == host || wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix) {
			return true
		}
	}
	return false
}
