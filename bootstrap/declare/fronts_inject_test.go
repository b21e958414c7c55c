package declare_test

import (
	"encoding/base32"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

const podinfo = "/etc/podinfo/annotations"

// notes is the file of a downwardAPI volume, as a kubelet writes it.
func notes(annotations ...string) declare.Input {
	var b strings.Builder
	for i := 0; i < len(annotations); i += 2 {
		b.WriteString(annotations[i] + "=" + strconv.Quote(annotations[i+1]) + "\n")
	}
	text := strings.TrimSuffix(b.String(), "\n")
	return declare.Input{Cwd: "/", Open: open(fstest.MapFS{podinfo[1:]: {Data: []byte(text)}})}
}

// inject has a pod that the injector would take.
func inject(t *testing.T, more ...string) plan.Plan {
	t.Helper()
	in := notes(append([]string{"vault.hashicorp.com/agent-inject", "true", "vault.hashicorp.com/role", "r"}, more...)...)
	p, found, err := declare.Annotations{Path: podinfo}.Declare(in)
	if err != nil || !found {
		t.Fatal(found, err)
	}
	return p
}

// TestAnnotationsOfAnySize: all annotations of a pod may be 256 KiB, in one line.
func TestAnnotationsOfAnySize(t *testing.T) {
	want := strings.Repeat("a line of a template\n", 256<<10/21)
	p := inject(t, "vault.hashicorp.com/agent-inject-template-a", want)
	if got := p.Files[0].Source.Template.Text; got != want {
		t.Errorf("%d bytes of %d", len(got), len(want))
	}
}

// TestAnnotationsBooleans has every word that the original takes, and words that
// it does not.
func TestAnnotationsBooleans(t *testing.T) {
	for word, want := range map[string]string{
		"1": "on", "t": "on", "T": "on", "true": "on", "TRUE": "on", "True": "on",
		"0": "off", "f": "off", "F": "off", "false": "off", "FALSE": "off", "False": "off", "": "off",
		"tRuE": "error", "yes": "error", " true": "error", "on": "error",
	} {
		in := notes("vault.hashicorp.com/agent-inject", "true", "vault.hashicorp.com/role", "r", "vault.hashicorp.com/agent-inject-token", word)
		p, _, err := declare.Annotations{Path: podinfo}.Declare(in)
		got := map[int]string{0: "off", 1: "on"}[len(p.Files)]
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q is %s, want %s", word, got, want)
		}
	}
}

// TestAnnotationsInterval has the durations that the agent takes.
func TestAnnotationsInterval(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "45": 45 * time.Second, "2d": 48 * time.Hour, "0": 0, "": 0,
	} {
		if got := inject(t, "vault.hashicorp.com/template-static-secret-render-interval", text).Refresh.Every.Value; got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

// TestEveryAnnotationIsKnown: each annotation of the injector is used, ignored with
// a reason or refused; none is unknown.
func TestEveryAnnotationIsKnown(t *testing.T) {
	for _, name := range strings.Fields(`
		agent-inject-status agent-image agent-request-namespace agent-init-first agent-pre-populate agent-pre-populate-only agent-configmap
		agent-extra-secret agent-limits-cpu agent-limits-mem agent-limits-ephemeral agent-requests-cpu agent-requests-mem agent-requests-ephemeral
		agent-revoke-on-shutdown agent-revoke-grace agent-run-as-user agent-run-as-group agent-run-as-same-user agent-share-process-namespace
		agent-set-security-context agent-service-account-token-volume-name agent-copy-volume-mounts agent-cache-enable agent-cache-listener-port
		agent-cache-use-auto-auth-token agent-cache-exit-on-err agent-enable-quit agent-auto-auth-exit-on-err agent-disable-idle-connections
		agent-disable-keep-alives agent-json-patch agent-init-json-patch agent-telemetry-disable_hostname agent-inject-containers
		agent-inject-default-template agent-inject-token client-max-retries client-timeout go-max-procs log-level log-format proxy-address
		service namespace tls-secret tls-server-name tls-skip-verify ca-cert ca-key client-cert client-key auth-type auth-path auth-config-role
		auth-min-backoff auth-max-backoff secret-volume-path preserve-secret-case template-config-exit-on-retry-failure
		template-static-secret-render-interval template-max-connections-per-host template-lease-renewal-threshold
		agent-inject-secret-x agent-inject-file-x agent-inject-perms-x agent-inject-template-x agent-inject-template-file-x agent-inject-command-x
		agent-template-left-delim-x agent-template-right-delim-x error-on-missing-key-x secret-volume-path-x preserve-secret-case-x`) {
		in := notes("vault.hashicorp.com/agent-inject", "true", "vault.hashicorp.com/role", "r", "vault.hashicorp.com/"+name, "1")
		if _, _, err := (declare.Annotations{Path: podinfo}).Declare(in); err != nil && strings.Contains(err.Error(), "unknown") {
			t.Error(err)
		}
	}
}

// checkFuzzed asserts what holds for whatever a front is given.
func checkFuzzed(t *testing.T, front declare.Front, in declare.Input) {
	t.Helper()
	p, _, err := front.Declare(in)
	if err != nil {
		checkFrontProblems(t, err)
		return
	}
	for _, f := range p.Files {
		if strings.Contains("/"+f.Path+"/", "/../") || f.Path == "" {
			t.Errorf("a file at %q", f.Path)
		}
	}
	for _, i := range p.Ignored {
		if i.What == "" || i.Why == "" || i.Origin.At == "" {
			t.Errorf("ignored without a name, a reason or a place: %#v", i)
		}
	}
	_ = p.Check()
}

func FuzzAnnotations(f *testing.F) {
	f.Add("vault.hashicorp.com/agent-inject=\"true\"\nvault.hashicorp.com/role=\"r\"\nvault.hashicorp.com/agent-inject-secret-a=\"b\"\nvault.hashicorp.com/agent-inject-file-a=\"../x\"\n")
	f.Add("vault.hashicorp.com/agent-inject=\"true\"\nvault.hashicorp.com/auth-type=\"approle\"\nvault.hashicorp.com/auth-config-secret-id-file-path=\"/s\"\nvault.hashicorp.com/x-=\"\"\n")
	f.Add("kind: Deployment\nmetadata: {name: a}\nspec: {template: {metadata: {annotations: {vault.hashicorp.com/agent-inject: \"true\", vault.hashicorp.com/role: 1}}}}\n")
	f.Add("kind: List\nitems: [{kind: CronJob, spec: {jobTemplate: {spec: []}}}, {kind: Pod, metadata: {annotations: [x]}, spec: {containers: [1, {name: vault-agent}]}}]\n")
	f.Add("=\"\"")
	f.Add("spec: {template: 1}")
	f.Fuzz(func(t *testing.T, text string) {
		in := declare.Input{Cwd: "/", Open: open(fstest.MapFS{podinfo[1:]: {Data: []byte(text)}})}
		from := plan.Origin{Front: "flag", At: "--from"}
		checkFuzzed(t, declare.Annotations{Path: podinfo, Origin: from}, in)
		checkFuzzed(t, declare.Flyte{Path: podinfo, Origin: from}, in)
	})
}

func FuzzFlyteRequest(f *testing.F) {
	code := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz123456").WithPadding(base32.NoPadding)
	for _, text := range []string{
		"group: \"secret/two\"\nkey: \"user\"\n", "key:'a' 'b';group:\"\\x41\\101\\u00e9\\U0001F600\\n\"", "group:\"..\" key:\"..\"",
		"group: \"G\" key: \"K\" mount_requirement: 1 env_var: \"A=B\" # c", "group: \"a\" key: \"/\" group_version: \"db\"", "group: \"\\", "a:b,,c:d",
	} {
		f.Add(text, "")
	}
	f.Add("", "nnsxsor!")
	f.Fuzz(func(t *testing.T, text, value string) {
		if value == "" {
			value = code.EncodeToString([]byte(text))
		}
		checkFuzzed(t, declare.Flyte{Path: podinfo}, notes("flyte.secrets/s0", value))
	})
}
