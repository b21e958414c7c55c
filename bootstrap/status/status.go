// Package status is what the pipeline says about itself while it keeps things
// fresh: is what was delivered there and valid, and what was done so far.
//
// The pipeline tells a [Board] what happens; [Board.Handler] shows it to probes
// and to Prometheus. It knows classes and counts, and never a path, a name or a
// value: whoever reaches the listener learns nothing of any secret. The text
// format is written here, because the libraries for it bring clients, histograms
// or global state that nobody here needs.
package status

import (
	"slices"
	"sync"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Board is the state of one pipeline. Its methods may be called from several
// goroutines.
type Board struct {
	now func() time.Time

	mu        sync.Mutex
	delivered bool
	ended     bool
	switched  time.Time // the last change; zero: there was none
	expires   time.Time // zero: nothing is known to

	generations, reads, readErrors, renewals, logins, actions, restarts *counter
}

// The class of what worked, and of errors that have no other.
const (
	classOK = "ok"
	other   = "other"
)

// classes are the classes of errors; see Class.
func classes() []string {
	return []string{"denied", "missing", "unavailable", "protocol", "data", other}
}

// New makes a Board of a pipeline that has delivered nothing yet. now is the
// clock; it is asked when something was delivered and when somebody looks.
func New(now func() time.Time) *Board {
	results := append([]string{classOK}, classes()...)
	class := func(words []string) label { return label{"class", words} }
	return &Board{
		now: now,
		generations: newCounter("secretboot_generations_total",
			"Generations that were put in place because something had changed, the first one included."),
		reads: newCounter("secretboot_reads_total",
			"Reads of secrets, by how they ended.", class(results)),
		readErrors: newCounter("secretboot_read_errors_total",
			"Reads of secrets that failed.", class(classes())),
		renewals: newCounter("secretboot_renewals_total",
			"Renewals of the token and of leases, by how they ended.", label{"what", []string{"token", "lease"}}, class(results)),
		logins: newCounter("secretboot_logins_total",
			"Logins to Vault, by how they ended.", class(results)),
		actions: newCounter("secretboot_actions_total",
			"What was done after a change.", label{"kind", []string{"signal", "restart", "exec"}}, label{"result", []string{classOK, "failed"}}),
		restarts: newCounter("secretboot_restarts_total",
			"Restarts of the command that worked."),
	}
}

// Class gives the class that an error with this code is counted under: denied,
// missing, unavailable, protocol, data, or other for all else.
func Class(code plan.Code) string {
	switch code {
	case plan.CodeDenied:
		return "denied"
	case plan.CodeMissing:
		return "missing"
	case plan.CodeUnavailable:
		return "unavailable"
	case plan.CodeProtocol:
		return "protocol"
	case plan.CodeData:
		return "data"
	default:
		return other
	}
}

// Delivered tells that a full generation is in place. changed: its bytes differ
// from the last one's, and it was switched to.
func (b *Board) Delivered(changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delivered = true
	if changed {
		b.switched = b.now()
		b.generations.add()
	}
}

// Read tells that one read was done. class is "" when it worked, else one of Class;
// any other word counts as other.
func (b *Board) Read(class string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads.add(known(class))
	if class != "" {
		b.readErrors.add(known(class))
	}
}

// Renewed tells of a renewal of what, which is token or lease; class is that of Read.
func (b *Board) Renewed(what, class string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewals.add(what, known(class))
}

// Login tells of a login; class is that of Read.
func (b *Board) Login(class string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logins.add(known(class))
}

// Acted tells what was done after a change: kind is signal, restart or exec.
func (b *Board) Acted(kind string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	result := "failed"
	if ok {
		result = classOK
	}
	b.actions.add(kind, result)
	if kind == "restart" && ok {
		b.restarts.add()
	}
}

// Expires tells when the first of what was delivered stops being valid; the zero
// time is that nothing is known to.
func (b *Board) Expires(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expires = at
}

// Ended tells that the pipeline goes down: from here on it is not ready.
func (b *Board) Ended() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}

// Ready reports whether a full generation is in place and nothing in it has
// expired; else why not, in words that name no secret.
func (b *Board) Ready() (bool, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready()
}

func (b *Board) ready() (bool, string) {
	switch {
	case b.ended:
		return false, "it is ending"
	case !b.delivered:
		return false, "nothing was delivered yet"
	case !b.expires.IsZero() && !b.now().Before(b.expires):
		return false, "something that was delivered has expired"
	}
	return true, ""
}

// known gives the class as it is counted.
func known(class string) string {
	switch {
	case class == "":
		return classOK
	case slices.Contains(classes(), class):
		return class
	}
	return other
}
