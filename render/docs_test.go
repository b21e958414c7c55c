package render

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

const docs = "../docs/templates.md"

var update = flag.Bool("update", false, "write the results in docs/templates.md anew")

// row is one line of a table in docs/templates.md.
type row struct{ function, example, result string }

// others is the heading under which the other dialects are.
const others = "## Templates of other declarations"

// readDocs gives the whole text, and the rows about our own language.
func readDocs(t testing.TB) (text string, rows []row) {
	t.Helper()
	b, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	own, _, _ := strings.Cut(string(b), others)
	return string(b), rowsOf(own, `\{\{.*\}\}`)
}

// rowsOf finds the rows whose example looks like that.
func rowsOf(text, example string) (rows []row) {
	line := regexp.MustCompile("(?m)^\\| `?([a-zA-Z0-9_]+).* \\| `(" + example + ")` \\| (.*) \\|$")
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		rows = append(rows, row{m[1], strings.ReplaceAll(m[2], `\|`, "|"), m[3]})
	}
	return rows
}

// docsInput is the data that docs/templates.md says the examples have.
func docsInput(t testing.TB, text string) Input {
	t.Helper()
	_, data, _ := strings.Cut(text, "```json\n")
	data, _, _ = strings.Cut(data, "```")
	in := Input{Answers: answersOf(t, data)}
	in.Answers["read secret/data/app version=2"] = Answer{Secret: secret.Secret{Data: parseTree(t, `{"data": {"password": "pw-2"}}`)}}
	write := func(s secret.Secret, args ...string) {
		need, err := newNeed("secret", args)
		if err != nil {
			t.Fatal(err)
		}
		in.Answers[need.Key()] = Answer{Secret: s}
	}
	write(issued(t), "pki/issue/web", "common_name=web")
	write(secret.Secret{Auth: &secret.Auth{ClientToken: secret.New([]byte("hvs.token")), Lease: time.Hour}}, "auth/token/create", "ttl=1h")
	in.Lookup = testData(t).Lookup
	in.File = func(path string) ([]byte, error) {
		if path != "motd.txt" {
			return nil, &plan.Problem{Code: plan.CodeMissing, Why: "there is no such file below template_root"}
		}
		return []byte("hello"), nil
	}
	return in
}

// issued is what a PKI mount answers: a certificate, its key and its authority.
func issued(t testing.TB) secret.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	sign := func(name string, ca bool) string {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IsCA: ca, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
		return encode("CERTIFICATE", der, err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	ca := sign("ca", true)
	return secret.Secret{Data: secret.NewTree(map[string]any{
		"certificate": sign("web", false), "private_key": encode("EC PRIVATE KEY", der, err), "issuing_ca": ca,
		"ca_chain": []any{ca, sign("root", true)}, "serial_number": "1a:2b",
	})}
}

// TestDocs executes every row of docs/templates.md.
func TestDocs(t *testing.T) {
	text, rows := readDocs(t)
	in := docsInput(t, text)
	if len(rows) < 250 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, r := range rows {
		out, err := execute(t, r.example, in)
		got := "`" + strings.ReplaceAll(string(out.Bytes.Reveal()), "\n", "⏎") + "`"
		switch {
		case err != nil:
			got = "**error**: " + why(err)
		case len(out.Lacking) > 0:
			t.Errorf("%s: lacks %s", r.example, out.Lacking[0].Read.Key())
		case out.Bytes.Len() == 0:
			got = "nothing is printed"
		}
		if *update {
			cell := "| `" + strings.ReplaceAll(r.example, "|", `\|`) + "` | "
			text = strings.Replace(text, cell+r.result+" |", cell+strings.ReplaceAll(got, "|", `\|`)+" |", 1)
		} else if got != strings.ReplaceAll(r.result, `\|`, "|") {
			t.Errorf("%s\n got %s\nwant %s", r.example, got, r.result)
		}
	}
	if *update {
		if err := os.WriteFile(docs, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// why is what an error says without place and advice.
func why(err error) string {
	text, _, _ := strings.Cut(err.Error(), " (declared")
	_, text, _ = strings.Cut(text, ">: ")
	return text
}

// TestDocsHaveEveryFunction keeps the tables complete: each function has a row
// whose example calls it, and each that is left out a reason.
func TestDocsHaveEveryFunction(t *testing.T) {
	text, rows := readDocs(t)
	calls := map[string]bool{}
	for _, r := range rows {
		p, err := new(Language).Compile(plan.Template{Text: r.example}, testOrigin())
		if err != nil {
			t.Errorf("%s: %v", r.example, err)
			continue
		}
		builtin := regexp.MustCompile(`\b` + r.function + `\b`).MatchString(r.example)
		if !p.Calls(r.function) && !builtin {
			t.Errorf("the row of %s does not call it", r.function)
		}
		calls[r.function] = true
	}
	all := newTable()
	for name, f := range all.whole() {
		if plain, ok := strings.CutPrefix(name, "sprig_"); ok && reflect.ValueOf(all.whole()[plain].fn).Pointer() == reflect.ValueOf(f.fn).Pointer() {
			continue
		}
		if !calls[name] {
			t.Errorf("no row for %s", name)
		}
	}
	_, left, _ := strings.Cut(text, "## Not here")
	for name := range all.absent {
		if !strings.Contains(left, "`"+name+"`") {
			t.Errorf("nothing is said about %s, which is left out", name)
		}
	}
}
