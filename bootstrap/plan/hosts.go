package plan

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Hosts says which hosts may get the credentials of an MLflow server, as MLflow
// Secrets Auth's MLFLOW_SECRETS_ALLOWED_HOSTS does: shell patterns that are divided
// by commas, whatever the case. As there, *.example.com does not allow example.com.
type Hosts []string

// ParseHosts reads such a list. Its error names the pattern that is none, or says
// that the list is empty; the text is no secret.
func ParseHosts(list string) (Hosts, error) {
	var hosts Hosts
	for glob := range strings.SplitSeq(list, ",") {
		if glob = strings.TrimSpace(glob); glob == "" {
			continue
		}
		if _, err := path.Match(hostGlob(glob), ""); err != nil || strings.Contains(glob, `\`) {
			return nil, fmt.Errorf("%q is no pattern", glob)
		}
		hosts = append(hosts, glob)
	}
	if len(hosts) == 0 {
		return nil, errors.New("the list is empty, so no host may get the credentials")
	}
	return hosts, nil
}

// Allow reports whether a host, without a port, may get the credentials. One with
// other than the usual letters may not, whatever the list says: what a client makes
// of it (it maps U+FF0F to a slash, say) is not for us to foresee.
func (h Hosts) Allow(host string) bool {
	if strings.ContainsFunc(host, unusualInHost) {
		return false
	}
	for _, glob := range h {
		if ok, err := path.Match(hostGlob(glob), strings.ToLower(host)); err == nil && ok {
			return true
		}
	}
	return false
}

// unusualInHost reports what is in no host name; colons are in addresses.
func unusualInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:", r)
}

// String gives the list with a comma and a space between two.
func (h Hosts) String() string { return strings.Join(h, ", ") }

// hostGlob writes a pattern of Python's fnmatch as one of path.Match. In a host,
// which has no slash, the two differ in the sign for "none of these" and in \,
// which is refused.
func hostGlob(glob string) string {
	return strings.ReplaceAll(strings.ToLower(glob), "[!", "[^")
}
