package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Status says how a step went.
type Status string

// The statuses. Skipped: it was not tried, for the reason in the detail.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Skipped Status = "skipped"
)

// The steps, in their order.
const (
	stepConfiguration = "configuration"
	stepDNS           = "dns"
	stepTCP           = "tcp"
	stepTLS           = "tls"
	stepVault         = "vault"
	stepClock         = "clock"
	stepLogin         = "login"
	stepPath          = "path"
	stepRender        = "render"
	stepSink          = "sink"
	stepCommand       = "command"
	stepKernel        = "kernel"
	stepProbe         = "probe"
	stepCleanUp       = "clean-up"
)

// Finding is what one step found of one subject. Its members in JSON are
// stable: further ones may come, none goes.
type Finding struct {
	Step    string    `json:"step"`
	Subject string    `json:"subject,omitempty"` // such as the path; "" where the step has only one
	Status  Status    `json:"status"`
	Detail  string    `json:"detail"`
	Fix     string    `json:"fix,omitempty"`
	Code    plan.Code `json:"code"` // of a failure; else 0
}

// Report is all findings, and what to do about them.
type Report struct {
	Status Status    `json:"status"` // ok, warn or fail
	Code   plan.Code `json:"code"`   // the exit code: that of the first entry of Todo, if it is a failure
	Steps  []Finding `json:"steps"`
	Todo   []Finding `json:"todo"` // the failures, then the warnings
}

// report draws the conclusion. What fails first is the most important: what
// comes later may be its consequence.
func (e *exam) report() Report {
	r := Report{Status: OK, Steps: e.found, Todo: []Finding{}}
	for _, wanted := range []Status{Fail, Warn} {
		for _, f := range e.found {
			if f.Status == wanted {
				r.Todo = append(r.Todo, f)
			}
		}
	}
	if len(r.Todo) > 0 {
		r.Status, r.Code = r.Todo[0].Status, r.Todo[0].Code
	}
	return r
}

// JSON writes the report as one object.
func JSON(w io.Writer, r Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// Text writes one line per finding and then the verdict; with color, the
// statuses stand out on a terminal.
func Text(w io.Writer, r Report, color bool) error {
	var b strings.Builder
	for _, f := range r.Steps {
		fmt.Fprintf(&b, "%s  %-13s  %s\n", paint(f.Status, color), f.Step, f.line())
	}
	b.WriteString("\n" + r.verdict() + "\n")
	for i, f := range r.Todo {
		fmt.Fprintf(&b, "%3d. %s: %s\n", i+1, f.Step, f.line())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line is all that was found, and the fix.
func (f Finding) line() string {
	var parts []string
	if f.Subject != "" {
		parts = append(parts, f.Subject)
	}
	text := strings.Join(append(parts, f.Detail), ": ")
	if f.Fix != "" {
		text += "; " + f.Fix
	}
	return text
}

// verdict is the conclusion in one line.
func (r Report) verdict() string {
	fails := 0
	for _, f := range r.Todo {
		if f.Status == Fail {
			fails++
		}
	}
	warns := len(r.Todo) - fails
	switch {
	case fails == 0 && warns == 0:
		return "verdict: nothing is wrong" + r.untried()
	case fails == 0:
		return "verdict: nothing fails, with " + plural(warns, "warning", "warnings") + r.untried()
	}
	return "verdict: " + plural(fails, "failure", "failures") + ", " + plural(warns, "warning", "warnings") + " (code " + itoa(int(r.Code)) + "); to do, most important first:"
}

// untried says that a good verdict is not about everything.
func (r Report) untried() string {
	n := 0
	for _, f := range r.Steps {
		if f.Status == Skipped {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return "; " + itoa(n) + " not tried"
}

// paint gives a status in the width of the longest.
func paint(s Status, color bool) string {
	text := fmt.Sprintf("%-7s", s)
	if !color {
		return text
	}
	code := map[Status]string{OK: "32", Warn: "33", Fail: "1;31", Skipped: "2"}[s]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func itoa(n int) string { return strconv.Itoa(n) }

// size writes bytes for people.
func size(n uint64) string {
	switch {
	case n < 10<<10:
		return strconv.FormatUint(n, 10) + " bytes"
	case n < 10<<20:
		return strconv.FormatUint(n>>10, 10) + " KiB"
	case n < 10<<30:
		return strconv.FormatUint(n>>20, 10) + " MiB"
	}
	return strconv.FormatUint(n>>30, 10) + " GiB"
}

// span writes a time for people: in days from two on.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return itoa(int(d/day)) + " days"
	}
	return d.Round(time.Second).String()
}
