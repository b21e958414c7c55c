package render

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// TestWriteToFile shows the files as path mode owner:group content.
func TestWriteToFile(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"one", `{{ "x" | writeToFile "a" "" "" "0400" }}`, `a 400 : "x"`},
		{"arguments", `{{ writeToFile "/run/secrets/a" "app" "65532" "644" "newline" "x" }}`, `/run/secrets/a 644 app:65532 "x\n"`},
		{
			"append", `{{ writeToFile "a" "" "" "0400" "append,newline" "x" }}{{ writeToFile "b" "" "" "0400" "b" }}{{ writeToFile "a" "" "" "0400" "append" "y" }}`,
			`a 400 : "x\ny", b 400 : "b"`,
		},
		{"no flags", `{{ writeToFile "a" "" "" "0400" "" "" }}`, `a 400 : ""`},
		{"certificate and key", `{{ with pkiCert "pki/issue/web" "common_name=web" }}{{ .Key | trunc 11 | writeToFile "k" "" "" "0400" }}{{ .Data.Cert | trunc 11 }}{{ end }}`, `k 400 : "-----BEGIN "`},
		{"inside a template", `{{ define "t" }}{{ writeToFile . "" "" "0400" "x" }}{{ end }}{{ range list "a" "b" }}{{ executeTemplate "t" . }}{{ end }}`, `a 400 : "x", b 400 : "x"`},
		{"twice", `{{ writeToFile "a" "" "" "0400" "x" }}{{ writeToFile "a" "" "" "0400" "y" }}`, `error: a file of this path was written already`},
		{"another mode", `{{ writeToFile "a" "" "" "0400" "x" }}{{ writeToFile "a" "" "" "0440" "append" "y" }}`, `error: the file was begun with another mode`},
		{"mode", `{{ writeToFile "a" "" "" "rw" "x" }}`, `error: the mode must be octal text`},
		{"mode of zero", `{{ writeToFile "a" "" "" "0" "x" }}`, `error: the mode must be octal text`},
		{"set-user-id", `{{ writeToFile "a" "" "" "4755" "x" }}`, `error: the mode must be octal text`},
		{"flag", `{{ writeToFile "a" "" "" "0400" "apend" "x" }}`, `error: a flag is neither`},
		{"no content", `{{ writeToFile "a" "" "" "0400" }}`, `error: writeToFile wants a path`},
		{"missing content", `{{ with secret "kv/app" }}{{ .Data.absent | writeToFile "a" "" "" "0400" }}{{ end }}`, `error: argument 5 of writeToFile is missing`},
		{"too much", `{{ $s := repeat 1048576 "x" }}{{ range loop 17 }}{{ writeToFile "a" "" "" "0400" "append" $s }}{{ end }}`, `error: the files would be larger than 16 MiB`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, _ := readDocs(t)
			out, err := execute(t, tc.text, docsInput(t, text))
			var got []string
			for _, f := range out.Files {
				if f.Origin != testOrigin() {
					t.Errorf("origin %v", f.Origin)
				}
				got = append(got, fmt.Sprintf("%s %o %s:%s %q", f.Path, f.Mode, f.Owner, f.Group, f.Content.Reveal()))
			}
			checkText(t, strings.Join(got, ", "), err, tc.want)
		})
	}
}

func TestFile(t *testing.T) {
	binary := Input{File: func(string) ([]byte, error) { return []byte{0, 0xff}, nil }}
	broken := Input{File: func(string) ([]byte, error) { return nil, errors.New("open " + canary) }}
	for _, tc := range []struct {
		name, text string
		in         Input
		want       string
	}{
		{"bytes", `{{ file " a " | base64Encode }}`, binary, "AP8="},
		{"no folder", `{{ file "a" }}`, Input{}, "error: template_root"},
		{"empty path", `{{ file " " }}`, binary, "error: the path is empty"},
		{"error that is not ours", `{{ file "a" }}`, broken, "error: the file cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := execute(t, tc.text, tc.in)
			checkText(t, string(out.Bytes.Reveal()), err, tc.want)
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the error holds data: %v", err)
			}
		})
	}
}

func TestExecuteTemplateAndScratch(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"result is a value", `{{ define "t" }}{{ .a }}{{ end }}{{ executeTemplate "t" (dict "a" "x") | base64Encode }}`, "eA=="},
		{"computed name", `{{ define "t1" }}one{{ end }}{{ executeTemplate (print "t" 1) }}`, "one"},
		{"unknown", `{{ define "tone" }}{{ end }}{{ executeTemplate "ton" }}`, `error: t:1:31: <executeTemplate>: no template "ton" is defined (declared at secretboot.yaml:3:5); did you mean tone?`},
		{"unknown and computed", `{{ executeTemplate (print "x" 1) }}`, "error: no template of this name is defined"},
		{"itself", "{{ executeTemplate \"\\x00\" }}", "error: no template"},
		{"place inside", "{{ define \"t\" }}\n{{ .x | toUpper }}{{ end }}{{ executeTemplate \"t\" (dict \"y\" 1) }}", "error: template t:2:8: <toUpper>: argument 1 of toUpper is missing"},
		{"method", "\n{{ scratch.MapSet \"a\" \"b\" 1 }}{{ scratch.Set \"c\" 1 }}{{ scratch.MapSet \"c\" \"b\" 1 }}", "error: template t:2:"},
		{"not a map", `{{ scratch.Set "a" "x" }}{{ scratch.MapValues "a" }}`, "error: what is kept under this key is no map"},
		{"list of nothing", `{{ range scratch.MapValues "a" }}x{{ end }}{{ len (scratch.MapValues "a") }}`, "0"},
		{"across templates", `{{ define "t" }}{{ scratch.Set "a" . }}{{ end }}{{ template "t" "x" }}{{ scratch.Get "a" }}`, "x"},
		{"whole", `{{ scratch }}`, "error: this is a whole scratch"},
		{"in itself", `{{ scratch.MapSet "a" "b" (scratch.Get "a") }}`, "error: the value to keep is missing"},
		{"cycle", `{{ scratch.MapSet "a" "b" 1 }}{{ scratch.MapSet "a" "c" (scratch.Get "a") }}{{ scratch.Get "a" }}`, "error: contains itself"},
		{"endless", `{{ define "t" }}{{ executeTemplate "t" }}{{ end }}{{ executeTemplate "t" }}`, "error: templates call one another without end"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := execute(t, tc.text, Input{})
			checkText(t, string(out.Bytes.Reveal()), err, tc.want)
		})
	}
}

// checkText compares an output, or a part of the error when want says so.
func checkText(t *testing.T, got string, err error, want string) {
	t.Helper()
	message, ok := strings.CutPrefix(want, "error: ")
	switch {
	case ok && (err == nil || !strings.Contains(err.Error(), message)):
		t.Errorf("got %q, %v; want error %s", got, err, message)
	case !ok && (err != nil || got != want):
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestPKICert(t *testing.T) {
	in := Input{Answers: Answers{}}
	answer := func(path string, data map[string]any) {
		need, err := newNeed("pkiCert", []string{path, "common_name=web"})
		if err != nil {
			t.Fatal(err)
		}
		in.Answers[need.Key()] = Answer{Secret: secret.Secret{Data: secret.NewTree(data)}}
	}
	full := issued(t).Data.Reveal()
	cert, key, ca := full["certificate"].(string), full["private_key"].(string), full["issuing_ca"].(string)
	answer("full", full)
	answer("bundle", map[string]any{"certificate": key + "\n" + cert + "\n" + ca, "expiration": 1})
	answer("sign", map[string]any{"certificate": cert})
	answer("der", map[string]any{"certificate": "MIIB", "private_key": "MIIC"})
	answer("broken", map[string]any{"certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"})
	for _, tc := range [][2]string{
		{`{{ .Cert }}`, cert + "\n"},
		{`{{ .Data.Key }}{{ .CA }}`, key + "\n" + ca + "\n"},
		{`{{ len .CAChain }} {{ index .CAChain 0 | eq .CA }}`, "2 true"},
		{`{{ . }}`, "error: this is a certificate with its key"},
		{`{{ toJSON . | parseJSON | keys | join "," }}`, "CA,CAChain,Cert,Key"},
	} {
		out, err := execute(t, `{{ with pkiCert "full" "common_name=web" }}`+tc[0]+`{{ end }}`, in)
		checkText(t, string(out.Bytes.Reveal()), err, tc[1])
	}
	for _, tc := range [][3]string{
		{"bundle", `{{ .Key }}{{ .Cert }}{{ .CA }}`, key + "\n" + cert + "\n" + ca + "\n"},
		{"sign", `{{ .Cert }}{{ if .Key }}k{{ end }}{{ if .CA }}c{{ end }}`, cert + "\n"},
		{"sign", `{{ .Key }}`, "error: the value is missing"},
		{"der", ``, "error: the answer has no certificate in PEM form"},
		{"broken", ``, "error: a certificate that cannot be parsed"},
	} {
		out, err := execute(t, `{{ with pkiCert "`+tc[0]+`" "common_name=web" }}`+tc[1]+`{{ end }}`, in)
		checkText(t, string(out.Bytes.Reveal()), err, tc[2])
	}
}

// TestOneIssueForAll: equal arguments are one need, whichever function asks and
// however it is spaced; a call without arguments is a write, too.
func TestOneIssueForAll(t *testing.T) {
	out, err := execute(t, `{{ pkiCert "p" "a=1" "b=2" }}{{ secret "p" "b=2" "a=1" }}{{ pkiCert "p" "a = 1" " b = 2 " }}{{ pkiCert "p" }}`, Input{})
	if err != nil || len(out.Lacking) != 2 {
		t.Fatalf("%d needs, %v", len(out.Lacking), err)
	}
	for _, n := range out.Lacking {
		if n.Read.Op != plan.OpWrite {
			t.Errorf("%s", n.Read.Key())
		}
	}
	spaces, _ := newNeed("secret", []string{"p", "a= x \n"})
	if got := string(spaces.Body["a"].Reveal()); got != " x \n" {
		t.Errorf("the value became %q", got)
	}
}

func TestAuthAndWrapInfo(t *testing.T) {
	in := Input{Answers: Answers{"read a": {Secret: secret.Secret{
		Auth: &secret.Auth{
			ClientToken: secret.New([]byte(canary)), Accessor: "acc", Policies: []string{"p", "q"}, Metadata: map[string]string{"user": "app"},
			Lease: time.Hour, Renewable: true,
		},
		Wrap: &secret.Wrap{Token: secret.New([]byte("wrapped")), TTL: time.Minute, CreationTime: testClock(), WrappedAccessor: "inner"},
	}}}}
	for _, tc := range [][2]string{
		{`{{ with .Auth }}{{ .ClientToken }} {{ .Accessor }} {{ .Policies | join "," }} {{ .Metadata.user }} {{ .LeaseDuration }} {{ .Renewable }}{{ end }}`, canary + " acc p,q app 3600 true"},
		{`{{ with .WrapInfo }}{{ .Token }} {{ .TTL }} {{ .CreationTime.Year }} {{ .WrappedAccessor }}{{ end }}`, "wrapped 60 2024 inner"},
		{`{{ .Data.x }}`, "error: the value is missing"},
		{`{{ .Auth }}`, "error: this is a whole Auth"},
		{`{{ print (list .WrapInfo) }}`, "error: this is a whole WrapInfo"},
	} {
		out, err := execute(t, `{{ with secret "a" }}`+tc[0]+`{{ end }}`, in)
		checkText(t, string(out.Bytes.Reveal()), err, tc[1])
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error holds data: %v", err)
		}
	}
}

// TestTimeIsUp: an execution ends with its context, also inside a function that
// cannot be interrupted, and the cause is kept.
func TestTimeIsUp(t *testing.T) {
	cause := errors.New("SIGTERM")
	for _, text := range []string{
		`{{ genPrivateKey "rsa" }}{{ genPrivateKey "rsa" }}{{ genPrivateKey "rsa" }}{{ genPrivateKey "rsa" }}`,
		`{{ define "t" }}{{ range loop 200000 }}{{ "x" | toUpper }}{{ end }}{{ end }}{{ template "t" }}{{ secret "a" }}{{ template "t" }}`,
	} {
		p, err := new(Language).Compile(plan.Template{Name: "t", Text: text}, testOrigin())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
		start := time.Now()
		_, err = p.Execute(ctx, Input{})
		timer.Stop()
		cancel(nil)
		if plan.CodeOf(err) != plan.CodeUnavailable || !errors.Is(err, cause) {
			t.Errorf("%s: %v", text, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: took %v", text, took)
		}
	}
}

// TestSprigTellsItsErrors has the functions that sprig lets go on with text or 0.
func TestSprigTellsItsErrors(t *testing.T) {
	for _, text := range []string{
		`{{ bcrypt (repeat 73 "x") }}`,
		`{{ htpasswd "a:b" "x" }}`,
		`{{ htpasswd "a" (repeat 73 "x") }}`,
		`{{ derivePassword 1 "loong" "x" "x" "x" }}`,
		`{{ genPrivateKey "x" }}`,
		`{{ atoi "x" }}`, `{{ int "x" }}`, `{{ int64 (list 1) }}`, `{{ float64 "x" }}`, `{{ add1 "1.5" }}`, `{{ mulf 1 "x" }}`,
		`{{ toDecimal "9" }}`,
		`{{ duration "x" }}`, `{{ durationRound "x" }}`, `{{ durationRound 1.5 }}`, `{{ ago "x" }}`,
		`{{ toDate "2006" "x" }}`,
		`{{ sprig_regexMatch "(" "x" }}`, `{{ regexFind "(" "x" }}`,
		`{{ merge (dict "a" 1) "x" }}`,
		`{{ fromJson "{" }}`,
	} {
		out, err := execute(t, text, Input{})
		if plan.CodeOf(err) != plan.CodeData {
			t.Errorf("%s: %q, %v", text, out.Bytes.Reveal(), err)
		}
	}
}
