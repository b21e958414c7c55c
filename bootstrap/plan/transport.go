package plan

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Rate bounds requests: so many a second, with so many at once at first.
type Rate struct {
	PerSecond float64
	Burst     int
}

// maxRate is more than any server takes, and far from what an int cannot hold.
const maxRate = 1_000_000

// ParseRate reads RATE or RATE:BURST, as Vault's own client reads
// VAULT_RATE_LIMIT: requests a second, more than 0, and how many may go at once
// at first. Without BURST it is RATE rounded up: Vault rounds down, and then
// lets nothing pass at a rate below 1. The error says what is wanted, never s.
//
// https://developer.hashicorp.com/vault/docs/commands#vault_rate_limit
func ParseRate(s string) (Rate, error) {
	wrong := fmt.Errorf("it must be RATE or RATE:BURST in requests a second, such as 10 or 10:20, at most %d", maxRate)
	perSecond, burst, both := strings.Cut(s, ":")
	if strings.Trim(perSecond, "0123456789.") != "" || strings.Trim(burst, "0123456789") != "" {
		return Rate{}, wrong // signs, hexadecimal, inf and nan
	}
	n, err := strconv.ParseFloat(perSecond, 64)
	if err != nil || n <= 0 || n > maxRate {
		return Rate{}, wrong
	}
	r := Rate{PerSecond: n, Burst: int(math.Ceil(n))}
	if !both {
		return r, nil
	}
	r.Burst, err = strconv.Atoi(burst)
	if err != nil || r.Burst < 1 || r.Burst > maxRate {
		return Rate{}, wrong
	}
	return r, nil
}

// String gives RATE:BURST, which ParseRate reads.
func (r Rate) String() string {
	return strconv.FormatFloat(r.PerSecond, 'f', -1, 64) + ":" + strconv.Itoa(r.Burst)
}

// The bounds of a size that may be asked for, be it of the largest answer or of a
// private mount: something must fit, and a limit must be one.
const (
	minSize = 1 << 10
	maxSize = 1 << 30
)

// ParseSize reads a number of bytes, plain or in KiB, MiB or GiB, from
// 1KiB to 1GiB. The error says what is wanted, never s.
func ParseSize(s string) (int64, error) {
	digits, unit := s, int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = rest, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	bytes := int64(n) * unit // below 2^61
	if err != nil || bytes < minSize || bytes > maxSize {
		return 0, errors.New("it must be a size from 1KiB to 1GiB, such as 16MiB, 512KiB or a number of bytes")
	}
	return bytes, nil
}

// CheckHeader refuses a name that is no field name (a token, RFC 9110, 5.1 and
// 5.6.2) and the names that are ours: what the connection needs, and what says
// who we are to Vault. Case does not matter.
func CheckHeader(name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isTokenChar(r) }) {
		return errors.New("it is no name of a header: letters, digits and !#$%&'*+-.^_`|~ only")
	}
	reserved := []string{
		"host", "content-length", "transfer-encoding", "connection",
		"idempotency-key", "x-idempotency-key", // net/http repeats what has one
		"x-vault-token", "x-vault-namespace", "x-vault-request",
	}
	if slices.Contains(reserved, strings.ToLower(name)) {
		return errors.New("this header is set by secretboot itself")
	}
	return nil
}

func isTokenChar(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// ParseRedirectHost reads a host that a redirect may lead to: HOST, or
// *.DOMAIN for every host below DOMAIN, each with :PORT where only that port is
// meant. It gives it in lower case. An IPv6 address stands in brackets.
func ParseRedirectHost(s string) (string, error) {
	wrong := errors.New("it must be HOST, HOST:PORT or *.DOMAIN, such as vault-1.example:8200")
	host, below := strings.CutPrefix(strings.ToLower(s), "*.")
	u, err := url.Parse("//" + host)
	if err != nil || u.Host != host || strings.HasSuffix(host, ":") {
		return "", wrong // a scheme, a user, a path, or a port with letters
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", wrong
		}
	}
	addr, err := netip.ParseAddr(u.Hostname())
	switch isAddr := err == nil; {
	case isAddr && below, isAddr && addr.Is6() != (host[0] == '['), !isAddr && !isDomain(u.Hostname()):
		return "", wrong
	}
	return strings.ToLower(s), nil
}

// isDomain reports whether s is a name in DNS, in lower case (RFC 1123, 2.1;
// with the underscores that private zones have).
func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return len(s) <= 253
}
