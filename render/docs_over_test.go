package render

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// docsData is the data that docs/templates.md says the examples of the other
// dialects have.
func docsData(t *testing.T) (external, bank string) {
	p := newPKI(t)
	const public = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"` // RFC 8037, appendix A
	data := map[string]string{
		"user": "app", "dash-key": "d", "json": `{"k":"v","n":1.50}`, "yaml": "k: v", "chain": p.leaf + p.intermediate + p.root, "key": p.keyPEM,
		"public": "{" + public + "}", "private": "{" + public + `,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`,
	}
	return string(must(json.Marshal(data))(t)), `{"user": "app", "port": 5432, "a.b": "dot", "tags": ["b", "a"]}`
}

// TestDocsOfOthers executes the rows about the other dialects, and looks whether
// every function has one.
func TestDocsOfOthers(t *testing.T) {
	text, _ := readDocs(t)
	_, text, _ = strings.Cut(text, others)
	text, bankText, _ := strings.Cut(text, "### bank-vaults")
	external, bank := docsData(t)
	rows := rowsOf(text, `\{\{.*\}\}`)
	checkRows(t, rows, plan.DialectExternalSecrets, external)
	bankRows := rowsOf(bankText, `[^`+"`"+`]*\$\{[^`+"`"+`]*\}[^`+"`"+`]*`)
	checkRows(t, bankRows, plan.DialectBankVaults, bank)
	if len(rows) < 35 || len(bankRows) < 9 {
		t.Errorf("only %d and %d rows", len(rows), len(bankRows))
	}
	told := map[string]bool{}
	for _, r := range rows {
		told[r.function] = true
	}
	for _, f := range append(externalFunctions(), clockFunctions()...) {
		if !told[f.name] {
			t.Errorf("no row for %s", f.name)
		}
	}
	for name := range bankTable().absent {
		if !strings.Contains(text+bankText, "`"+name) {
			t.Errorf("nothing is said about %s, which is left out", name)
		}
	}
}

func checkRows(t *testing.T, rows []row, dialect plan.Dialect, data string) {
	t.Helper()
	for _, r := range rows {
		out, err := over(t, plan.Template{Text: r.example, Dialect: dialect}, data)
		got := "`" + strings.ReplaceAll(out, "\n", "⏎") + "`"
		if err != nil {
			got = "**error**: " + why(err)
		}
		if got != r.result {
			t.Errorf("%s\n got %s\nwant %s", r.example, got, r.result)
		}
	}
}
