package declare_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

func bankVaults(vars map[string]string) (declare.Input, plan.Plan, error) {
	in := declare.Input{Lookup: lookup(vars), Cwd: "/work"}
	for name, value := range vars {
		in.Environ = append(in.Environ, name+"="+value)
	}
	p, _, err := declare.BankVaults{Origin: plan.Origin{At: "--from"}}.Declare(in)
	return in, p, err
}

// put together what a source leads to, with the references as they are named.
func spelled(t *testing.T, in declare.Input, src plan.Source) string {
	t.Helper()
	name := func(r *plan.Ref) string { return "<" + r.Read.Path + " " + r.Field + ">" }
	if src.Ref != nil {
		return name(src.Ref)
	}
	var b strings.Builder
	for _, piece := range src.Pieces {
		if piece.Ref != nil {
			b.WriteString(name(piece.Ref))
			continue
		}
		text, err := declare.Resolve(in, *piece.Text)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text[piece.From:piece.To])
	}
	return b.String()
}

// TestBankVaultsPieces: what is around references is delivered byte by byte.
func TestBankVaultsPieces(t *testing.T) {
	for value, want := range map[string]string{
		"${vault:a/b#c}":                                  "<a/b c>",
		"x${vault:a/b#c}":                                 "x<a/b c>",
		"${vault:a/b#c}y":                                 "<a/b c>y",
		"${vault:a/b#c}${vault:a/b#d}":                    "<a/b c><a/b d>",
		"é ${vault:a/b#c} ü":                              "é <a/b c> ü",
		"${${vault:a/b#c}}":                               "${<a/b c>}",
		"${HOME}${vault:a/b#c}$":                          "${HOME}<a/b c>$",
		"l1\n${vault:a/b\n#c} ${vault:a/b#c}\n":           "l1\n${vault:a/b\n#c} <a/b c>\n",
		"${vault:a/b#${ .c }${ .d }}}":                    "<a/b ${ .c }${ .d }>}",
		`${>>vault:a/b#c#{"d":"}","e":"${"}}}`:            "<a/b c>}",
		"${vault:v1:abc} ${vault:a/b#c}":                  "${vault:v1:abc} <a/b c>",
		"${vault:a/b#c ${vault:a/b#d}":                    "${vault:a/b#c <a/b d>",
		"vault:a/b#c}":                                    "<a/b c}>",
		"vault:a/b#c${vault:a/b#d}":                       "vault:a/b#c<a/b d>",
		"https://u:${vault:a/b#c}@h/?q=${vault:a/b#c#2}#": "https://u:<a/b c>@h/?q=<a/b c>#",
	} {
		in, p, err := bankVaults(map[string]string{"A": value})
		if err != nil || len(p.Env) != 1 {
			t.Errorf("%q: %d variables, %v", value, len(p.Env), err)
			continue
		}
		if got := spelled(t, in, p.Env[0].Source); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

// TestBankVaultsBodies follows what is sent from the variable to its text.
func TestBankVaultsBodies(t *testing.T) {
	in, p, err := bankVaults(map[string]string{
		"VAULT_TRANSIT_KEY_ID": "k",
		"A":                    `>>vault:pki/issue/web#certificate# {"common_name":"a#b","ttl":60,"flag":true,"empty":""}`,
		"B":                    `x${>>vault:t/e#c#{"d":"1}"}}${>>vault:t/e#c#{"d":"2"}}`,
		"C":                    "vault:v1:abc==",
		"D":                    "x${vault:v1:abc==}y",
	})
	if err != nil {
		t.Fatal(err)
	}
	var refs []*plan.Ref
	for _, e := range p.Env {
		if e.Source.Ref != nil {
			refs = append(refs, e.Source.Ref)
		}
		for _, piece := range e.Source.Pieces {
			if piece.Ref != nil {
				refs = append(refs, piece.Ref)
			}
		}
	}
	want := []map[string]string{
		{"common_name": "a#b", "ttl": "60", "flag": "true", "empty": ""},
		{"d": "1}"},
		{"d": "2"},
		{"ciphertext": "vault:v1:abc=="},
		{"ciphertext": "vault:v1:abc=="},
	}
	keys := map[string]bool{}
	for i, ref := range refs {
		got := map[string]string{}
		for name, h := range ref.Read.Body {
			text, err := declare.Resolve(in, h)
			if err != nil {
				t.Error(err)
			}
			got[name] = string(text)
		}
		if i >= len(want) || !maps.Equal(got, want[i]) {
			t.Errorf("write %d sends %v", i, got)
		}
		keys[ref.Read.Key()] = true
	}
	if len(refs) != len(want) || len(keys) != len(want) {
		t.Errorf("%d writes, %d of them told apart; want %d", len(refs), len(keys), len(want))
	}
}

// TestBankVaultsAmongOthers: what another declaration hides stays hidden.
func TestBankVaultsAmongOthers(t *testing.T) {
	_, p, err := bankVaults(map[string]string{"A": "vault:a/b#c"})
	if err != nil {
		t.Fatal(err)
	}
	var other plan.Plan
	other.Run.EnvDeny = plan.Set([]string{"MLFLOW_TRACKING_TOKEN", "VAULT_ROLE"}, plan.Origin{At: "x"})
	both, err := plan.Merge(p, other)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(both.Run.EnvDeny.Value); n != len(p.Run.EnvDeny.Value)+1 || both.Run.EnvDeny.Value[n-1] != "MLFLOW_TRACKING_TOKEN" {
		t.Errorf("hidden: %q", both.Run.EnvDeny.Value)
	}
}

func FuzzBankVaults(f *testing.F) {
	for _, seed := range []string{
		"vault:secret/data/a#b#2", "${vault:a/b#${ .c }}", ">>vault:a/b#c#{\"d\":\"e\"}", "${>>vault:a/b#c#{\"d\":{}}}", "vault:v1:abc", "${vault:v1:a}",
		"${vault:a#b", "${>vault:a#b}", "${${vault:a#b}}", "vault:login", "vault:#", ">>vault:a#b#null", "vault:a#${", "}${vault:", "\xff${vault:a/b#\xff}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 || strings.Contains(text, "CANARY") {
			return
		}
		member, err := json.Marshal("CANARY" + text)
		if err != nil {
			t.Fatal(err)
		}
		vars := map[string]string{"RAW": text, "KEYED": "CANARY" + text + "CANARY", "WRITE": `>>vault:a/b#c#{"m":` + string(member) + `}`}
		for range 2 {
			in, p, err := bankVaults(vars)
			if shown := dump(p); strings.Contains(shown, "CANARY") {
				t.Errorf("the plan shows a value:\n%s", shown)
			}
			if err != nil {
				checkFrontProblems(t, err)
				if strings.Contains(err.Error(), "CANARY") {
					t.Errorf("a problem shows a value: %v", err)
				}
			}
			for _, e := range p.Env {
				_ = spelled(t, in, e.Source)
			}
			checkWritten(t, in, p, text)
			vars["VAULT_TRANSIT_KEY_ID"] = "k"
		}
	})
}

// checkWritten asserts that the member of the well-formed write is found again.
func checkWritten(t *testing.T, in declare.Input, p plan.Plan, text string) {
	t.Helper()
	for _, e := range p.Env {
		if e.Name != "WRITE" || e.Source.Ref == nil || e.Source.Ref.Read.Path != "a/b" {
			continue
		}
		got, err := declare.Resolve(in, e.Source.Ref.Read.Body["m"])
		if utf8.ValidString(text) && (err != nil || string(got) != "CANARY"+text) {
			t.Errorf("got %q, %v", got, err)
		}
	}
}
