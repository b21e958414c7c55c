package render

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// FuzzExecute: no template panics, prints a mark of text/template or fmt for a
// missing value, tells data in an error, or goes on for long.
func FuzzExecute(f *testing.F) {
	for _, tc := range examples() {
		f.Add(tc[0])
	}
	f.Add(`{{ $d := dict }}{{ $_ := set $d "x" $d }}{{ $d }}`)
	f.Add(`{{ range $i, $e := list 1 2 }}{{ if $i }}{{ break }}{{ end }}{{ continue }}{{ end }}`)
	in := testData(f)
	in.Answers["read c"] = answersOf(f, `{"c": {"x": "`+canary+`", "n": null}}`)["read c"]
	f.Fuzz(func(t *testing.T, text string) {
		p, err := new(Language).Compile(plan.Template{Text: text}, testOrigin())
		if err != nil {
			return
		}
		start := cpuTime(t)
		out, err := p.Execute(t.Context(), in)
		if took := cpuTime(t) - start; took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			if strings.Contains(err.Error(), canary) && !strings.Contains(text, canary) {
				t.Errorf("the error holds data: %v", err)
			}
			return
		}
		for _, mark := range []string{"<no value>", "<nil>", "%!"} {
			if strings.Contains(string(out.Bytes.Reveal()), mark) && !strings.ContainsAny(text, "<%") {
				t.Errorf("printed %s: %q", mark, out.Bytes.Reveal())
			}
		}
	})
}

// FuzzExternalTemplate: no template of the dialects with data panics, tells data
// in an error, prints a mark of a missing value or goes on for long, and no path
// does.
func FuzzExternalTemplate(f *testing.F) {
	for _, text := range []string{
		`{{ .u | upper }}{{ index . "dash-key" }}`, `${ .m | toJson }`, `{{ fromYaml .u | toYaml }}`, `{{ .u | filterCertChain "leaf" }}`,
		`{{ $_ := set . "u" . }}{{ . }}`, `{{ jwkPrivateKeyPem .u }}`, `{{ pkcs12cert .u }}`, `{{ rsaDecrypt "RSA-OAEP" "SHA1" .u .u }}`,
		`{{ range . }}{{ . | fromJson | toYaml }}{{ end }}`, `{{ date .u now }}{{ randAscii 3 }}`, "m.#(k).a|@pretty", "[u,@tostr]|@this", `{"a":u}|@dig:k`, "..#.u",
	} {
		f.Add(text, `{"k": [1, "x"]}`)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		secrets := map[string]any{"u": canary + value, "v": value, "dash-key": canary, "m": []any{map[string]any{"k": canary, "n": nil}}}
		start := cpuTime(t)
		check := func(got []byte, err error, template bool) {
			if took := cpuTime(t) - start; took > 20*time.Second {
				t.Errorf("took %v of a processor", took)
			}
			if err != nil && strings.Contains(err.Error(), canary) && !strings.Contains(text, canary) {
				t.Errorf("the error holds data: %v", err)
			}
			for _, mark := range []string{"<no value>", "<nil>", "%!"} {
				if template && strings.Contains(string(got), mark) && !strings.ContainsAny(text+value, "<%") {
					t.Errorf("printed %s: %q", mark, got)
				}
			}
		}
		for _, dialect := range []plan.Dialect{plan.DialectExternalSecrets, plan.DialectBankVaults} {
			p, err := new(Language).Compile(plan.Template{Text: text, Dialect: dialect}, testOrigin())
			if err != nil {
				check(nil, err, true)
				continue
			}
			v, err := p.ExecuteOver(t.Context(), secrets)
			check(v.Reveal(), err, true)
		}
		if secrets["u"] != canary+value || len(secrets) != 4 {
			t.Error("the data were changed")
		}
		s := secret.Secret{Data: secret.NewTree(secrets)}
		v, err := Reference(t.Context(), plan.Ref{Field: text, Select: plan.SelectPath}, s, Means{}, testOrigin())
		check(v.Reveal(), err, false)
	})
}

// cpuTime is what this process has had of processors: how long something takes depends on
// what else the machine does.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
