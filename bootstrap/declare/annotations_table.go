package declare

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// annotation is what we know about one annotation of the injector.
type annotation struct {
	name     string // without the prefix
	alone    bool   // it stands alone
	ofSecret bool   // -NAME of a secret follows
	ofKey    bool   // -KEY follows

	ignored      string // why it has no meaning here; "": it has one
	check        func(string) string
	refused, fix string // why it cannot be taken, and what to do
}

// wrong says what is wrong with a value that is not needed: a mistake in it is
// one nevertheless.
func (a annotation) wrong(value string) string {
	if a.check == nil {
		return ""
	}
	return a.check(value)
}

// The reasons that many annotations share.
const (
	noContainer = "not needed: no container is added to the pod"
	noAgent     = "not needed: there is no agent process"
	ownRetries  = "not needed: requests and the login are tried again until timeout"
)

// usedAnnotations have a meaning here.
func usedAnnotations() []annotation {
	var rules []annotation
	for _, name := range []string{
		injectorOn, "agent-inject-default-template", "agent-inject-token", "service", "namespace", "proxy-address", "ca-cert", "ca-key",
		"client-cert", "client-key", "tls-server-name", "tls-skip-verify", "role", "auth-type", "auth-path",
		"template-static-secret-render-interval", "template-max-connections-per-host",
	} {
		rules = append(rules, annotation{name: name, alone: true})
	}
	for _, name := range []string{
		"agent-inject-secret", "agent-inject-template", "agent-inject-template-file", "agent-inject-file", "agent-inject-perms", "agent-inject-command",
		"agent-template-left-delim", "agent-template-right-delim", "error-on-missing-key",
	} {
		rules = append(rules, annotation{name: name, ofSecret: true})
	}
	return append(rules,
		annotation{name: "secret-volume-path", alone: true, ofSecret: true},
		annotation{name: "preserve-secret-case", alone: true, ofSecret: true},
		annotation{name: "auth-config", ofKey: true},
		annotation{
			name: "agent-configmap", alone: true, refused: "the agent's own configuration is in a ConfigMap, and counts instead of the annotations",
			fix: "mount the ConfigMap and give its file with --from agent:PATH, instead of the annotations",
		},
	)
}

// ignoredAnnotations are about the injector's and the agent's own doings. Those
// whose absence could be felt say so.
func ignoredAnnotations() []annotation {
	var rules []annotation
	add := func(why string, check func(string) string, names ...string) {
		for _, name := range names {
			rules = append(rules, annotation{name: name, alone: true, ignored: why, check: check})
		}
	}
	add("not needed: only the value injected has a meaning", nil, "agent-inject-status")
	add(noContainer, nil, "agent-image", "agent-request-namespace", "agent-inject-containers", "agent-copy-volume-mounts",
		"agent-limits-cpu", "agent-limits-mem", "agent-limits-ephemeral", "agent-requests-cpu", "agent-requests-mem", "agent-requests-ephemeral")
	add(noContainer, wantBool, "agent-init-first", "agent-set-security-context")
	add(noContainer, wantJSON, "agent-json-patch", "agent-init-json-patch")
	add("not needed: secretboot runs as the user of its container, and writes files for it", wantNumber, "agent-run-as-user", "agent-run-as-group")
	add("not needed: secretboot runs as the user of its container, and writes files for it", wantBool, "agent-run-as-same-user")
	add("not needed: a command runs beside the process that secretboot starts", wantBool, "agent-share-process-namespace")
	add("not needed: everything is delivered before the command starts", wantBool, "agent-pre-populate", "agent-pre-populate-only")
	add("not needed: secretboot revokes its token itself, unless a lease hangs on it", wantBool, "agent-revoke-on-shutdown")
	add("not needed: secretboot revokes its token itself, unless a lease hangs on it", wantNumber, "agent-revoke-grace")
	add(noAgent, wantBool, "agent-enable-quit")
	add(noAgent, nil, "go-max-procs", "log-level", "log-format", "agent-disable-idle-connections", "agent-disable-keep-alives")
	add("there is no agent to ask at 127.0.0.1: an application that reads from Vault itself needs the address of the server", wantBool, "agent-cache-enable")
	add(noAgent, nil, "agent-cache-listener-port", "agent-cache-use-auto-auth-token")
	add(noAgent, wantBool, "agent-cache-exit-on-err")
	add(ownRetries, wantDuration, "auth-min-backoff", "auth-max-backoff")
	add(ownRetries, wantBool, "agent-auto-auth-exit-on-err", "template-config-exit-on-retry-failure")
	add(ownRetries, wantNumber, "client-max-retries")
	add("it bounds one request; use timeout, which bounds the whole start", nil, "client-timeout")
	add("when a lease is renewed is no setting here", wantFraction, "template-lease-renewal-threshold")
	add("no volume is added to the pod: mount the Secret at /vault/tls yourself", nil, "tls-secret")
	add("no volume is added to the pod: mount the Secret at /vault/custom yourself", nil, "agent-extra-secret")
	add("the token that is mounted in this container is used; name another one with auth-config-token-path", nil, "agent-service-account-token-volume-name")
	return append(rules, annotation{name: "agent-telemetry", ofKey: true, ignored: "not needed: there is no agent to measure"})
}

func knownAnnotations() []annotation { return append(usedAnnotations(), ignoredAnnotations()...) }

// annotationRule finds what a name is: an annotation that stands alone, or the
// longest that it begins with and, after a dash, what follows.
func annotationRule(name string) (rule annotation, rest string, known bool) {
	for _, a := range knownAnnotations() {
		if name == a.name {
			return a, "", true
		}
		after, begins := strings.CutPrefix(name, a.name+"-")
		if begins && (a.ofSecret || a.ofKey) && len(a.name) > len(rule.name) {
			rule, rest, known = a, after, true
		}
	}
	return rule, rest, known
}

// annotationSuggestion names the nearest annotation. What follows an annotation's
// name is kept as it is in the wrong one, and the case of the rest does not matter.
func annotationSuggestion(wrong string) string {
	candidates := map[string]string{} // what to write, by its lower case
	words := strings.Split(wrong, "-")
	for _, a := range knownAnnotations() {
		if a.alone {
			candidates[a.name] = a.name
		}
		if n := strings.Count(a.name, "-") + 1; (a.ofSecret || a.ofKey) && n < len(words) {
			whole := a.name + "-" + strings.Join(words[n:], "-")
			candidates[strings.ToLower(whole)] = whole
		}
	}
	if near := plan.Nearest(strings.ToLower(wrong), slices.Sorted(maps.Keys(candidates))); near != "" {
		return "did you mean " + injectorPrefix + candidates[near] + "?"
	}
	return "take it away, or see the injector's list of annotations"
}

func wantBool(s string) string {
	if _, ok := parseBool(s); ok || s == "" {
		return ""
	}
	return "it must be true or false"
}

// wholeNumber reads a number; nothing is 0.
func wholeNumber(s string) (int, bool) {
	if s == "" {
		return 0, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func wantNumber(s string) string {
	if n, ok := wholeNumber(s); ok && n >= 0 {
		return ""
	}
	return "it must be a whole number from 0"
}

func wantFraction(s string) string {
	if f, err := strconv.ParseFloat(s, 64); s == "" || err == nil && f >= 0 && f <= 1 {
		return ""
	}
	return "it must be a number from 0 to 1"
}

func wantDuration(s string) string {
	if d, err := time.ParseDuration(s); s == "" || err == nil && d >= 0 {
		return ""
	}
	return "it must be a duration such as 30s"
}

func wantJSON(s string) string {
	if s == "" || json.Valid([]byte(s)) {
		return ""
	}
	return "it must be JSON"
}

// agentDuration reads what the agent takes for a duration: Go's notation, days
// (2d), and a bare number of seconds.
func agentDuration(s string) (time.Duration, bool) {
	unit := time.Second
	digits, days := strings.CutSuffix(s, "d")
	if days {
		unit = 24 * time.Hour
	}
	if n, err := strconv.ParseUint(digits, 10, 31); err == nil {
		return min(time.Duration(n), 1<<62/unit) * unit, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}
