package doctor

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/vault"
)

// reach goes the way of a request, up to what the server says of itself.
func (e *exam) reach(ctx context.Context) {
	steps := []string{stepDNS, stepTCP, stepTLS, stepVault, stepClock}
	skip := func(from int, why string) {
		for _, step := range steps[from:] {
			e.skip(step, "", why)
		}
	}
	if e.server == nil {
		skip(0, e.unserved)
		return
	}
	way, err := e.server.Way()
	if err != nil {
		e.fail(stepDNS, "", err)
		skip(1, "the way to the server is not known")
		e.server, e.unserved = nil, "the way to the server is not known"
		return
	}
	addrs := e.dns(ctx, way)
	if len(addrs) == 0 {
		skip(1, "the host name has no address")
		e.server, e.unserved = nil, "Vault cannot be reached"
		return
	}
	if !e.tcp(ctx, way, addrs) {
		skip(2, "no connection")
		e.server, e.unserved = nil, "Vault cannot be reached"
		return
	}
	e.tls(ctx, way, addrs)
	e.health(ctx, e.found[len(e.found)-1].Status == Fail)
}

// dns gives what to dial.
func (e *exam) dns(ctx context.Context, way vault.Way) []string {
	if way.Network == "unix" {
		e.skip(stepDNS, "", "the address is a socket")
		return []string{way.Address}
	}
	host, port, err := net.SplitHostPort(way.Address)
	if err != nil {
		e.fail(stepDNS, way.Address, &plan.Problem{Code: plan.CodeConfig, What: "the address", Why: "has no host and port"})
		return nil
	}
	subject := host
	if way.Proxied {
		subject = "proxy " + host
	}
	if _, err := netip.ParseAddr(host); err == nil {
		e.ok(stepDNS, subject, "is an address itself")
		return []string{way.Address}
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	found, err := e.world.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		e.add(Finding{Step: stepDNS, Subject: subject, Status: Fail, Detail: "cannot be resolved: " + whyDNS(err), Fix: fixDNS(host, way.Proxied), Code: plan.CodeUnavailable})
		return nil
	}
	var dial, say []string
	for _, a := range found {
		dial = append(dial, net.JoinHostPort(a.Unmap().String(), port))
		say = append(say, a.Unmap().String())
	}
	e.ok(stepDNS, subject, strings.Join(say, ", "))
	return dial
}

func whyDNS(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no such name"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "the name server does not answer"
	}
	return "the name server has no answer"
}

func fixDNS(host string, proxied bool) string {
	switch {
	case proxied:
		return "check VAULT_PROXY_ADDR and HTTPS_PROXY, and the name servers in /etc/resolv.conf"
	case strings.Contains(host, ".svc"):
		return "check the service's name and namespace in VAULT_ADDR, and that the cluster's DNS works in this pod (dnsPolicy)"
	}
	return "check the host in VAULT_ADDR, and the name servers in /etc/resolv.conf"
}

// maxDialled bounds the addresses of one name that are tried.
const maxDialled = 8

// tcp connects to every address, all at the same time.
func (e *exam) tcp(ctx context.Context, way vault.Way, addrs []string) bool {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	addrs = addrs[:min(len(addrs), maxDialled)]
	whys := make([]string, len(addrs))
	began := time.Now()
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(ctx, way.Network, addr)
			if err != nil {
				whys[i] = addr + ": " + whyDial(err)
				return
			}
			_ = conn.Close()
		})
	}
	wg.Wait()
	took := time.Since(began).Round(100 * time.Microsecond).String()
	var bad []string
	for _, why := range whys {
		if why != "" {
			bad = append(bad, why)
		}
	}
	const fix = "see that Vault listens there, and that no firewall or network policy is in between"
	switch {
	case len(bad) == len(addrs):
		e.add(Finding{Step: stepTCP, Status: Fail, Detail: strings.Join(bad, ", "), Fix: fix, Code: plan.CodeUnavailable})
		return false
	case len(bad) > 0:
		e.warn(stepTCP, "", strings.Join(bad, ", ")+"; the other "+plural(len(addrs)-len(bad), "address answers", "addresses answer"), fix)
	default:
		e.ok(stepTCP, "", strings.Join(addrs, ", ")+": connected in "+took)
	}
	return true
}

func whyDial(err error) string {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return "cannot be reached"
}

// health asks the server how it is, and compares its clock with ours.
// A request whose handshake failed before fails again, for a reason that was
// told.
func (e *exam) health(ctx context.Context, badTLS bool) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	h, err := e.server.Health(ctx)
	if err != nil {
		if badTLS && plan.CodeOf(err) == plan.CodeProtocol {
			e.skip(stepVault, "", "the certificate is not accepted: see tls")
		} else {
			e.fail(stepVault, "", err)
		}
		e.skip(stepClock, "", "the server did not tell the time")
		e.server, e.unserved = nil, "Vault does not answer as it should"
		return
	}
	said := "version " + cmp.Or(h.Version, "not told")
	if h.Cluster != "" {
		said += ", cluster " + h.Cluster
	}
	bad := func(why, fix string) {
		e.add(Finding{Step: stepVault, Status: Fail, Detail: why + "; " + said, Fix: fix, Code: plan.CodeUnavailable})
		e.server, e.unserved = nil, "Vault is "+why
	}
	switch {
	case !h.Initialized:
		bad("not initialized", "run vault operator init, or check that the address is the right Vault's")
	case h.Sealed:
		bad("sealed", "unseal it (vault operator unseal), or see why auto-unseal does not")
	case h.Secondary:
		bad("a disaster recovery secondary, which serves no requests", "give the address of the primary")
	case h.Standby:
		e.ok(stepVault, "", said+", unsealed, a standby: it passes requests on")
	default:
		e.ok(stepVault, "", said+", unsealed, active")
	}
	e.clock(h)
}

// maxSkew is the difference of clocks that is left alone. The logins that check
// a signed token allow a minute by default
// (https://developer.hashicorp.com/vault/api-docs/auth/jwt, clock_skew_leeway),
// and the server tells whole seconds only.
const maxSkew = 30 * time.Second

func (e *exam) clock(h vault.Health) {
	if h.Now.IsZero() {
		e.skip(stepClock, "", "the server did not tell the time")
		return
	}
	// A whole second that was cut off is half a second behind on average.
	skew := h.At.Sub(h.Now.Add(500 * time.Millisecond)).Round(time.Second)
	switch {
	case skew > maxSkew:
		e.warn(stepClock, "", "ours is "+skew.String()+" ahead of the server's", "set our clock (NTP): signed tokens and certificates are taken for not valid")
	case skew < -maxSkew:
		e.warn(stepClock, "", "ours is "+(-skew).String()+" behind the server's", "set our clock (NTP): signed tokens and certificates are taken for not valid")
	default:
		e.ok(stepClock, "", "within "+max(skew.Abs(), time.Second).String()+" of the server's")
	}
}
