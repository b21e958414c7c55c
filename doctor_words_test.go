package main

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/secretboot/secretboot/bootstrap/doctor"
)

// cmdFinding serves `finding STATUS STEP REGEXP`: what `doctor --json` printed
// has a finding of that step and status whose line, "SUBJECT: DETAIL; FIX",
// matches as a whole.
func cmdFinding(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: finding STATUS STEP REGEXP")
	}
	want := regexp.MustCompile("^(?:" + args[2] + ")$")
	found := false
	for _, f := range doctorReport(ts).Steps {
		line := f.Detail
		if f.Subject != "" {
			line = f.Subject + ": " + line
		}
		if f.Fix != "" {
			line += "; " + f.Fix
		}
		found = found || f.Step == args[1] && string(f.Status) == args[0] && want.MatchString(line)
	}
	if found == neg {
		ts.Fatalf("finding %s: %v", strings.Join(args, " "), found)
	}
}

// cmdTodo serves `todo STEP…`: exactly these steps are to be mended, in this
// order.
func cmdTodo(ts *testscript.TestScript, neg bool, args []string) {
	var steps []string
	for _, f := range doctorReport(ts).Todo {
		steps = append(steps, f.Step)
	}
	if neg || strings.Join(steps, " ") != strings.Join(args, " ") {
		ts.Fatalf("to be mended: %v", steps)
	}
}

// doctorReport reads `out` as strictly as a program may that knows this version.
func doctorReport(ts *testscript.TestScript) doctor.Report {
	var r doctor.Report
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("out")))
	dec.DisallowUnknownFields()
	ts.Check(dec.Decode(&r))
	if dec.More() {
		ts.Fatalf("something follows the report")
	}
	return r
}
