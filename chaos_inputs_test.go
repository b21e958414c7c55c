package main

import "strings"

// badInputs are 80 things that somebody may write, or Vault answer, by a mistake or
// in bad faith. Every one is refused with its place, in little memory.
func badInputs() []faultCase {
	cases := append(badConfigs(), badTemplates()...)
	return append(append(cases, badResponses()...), badPlaces()...)
}

// badConfigs are 30 configuration files.
func badConfigs() (cases []faultCase) {
	const good = "files: [{ path: a, secret: secret/data/x#y }]\n"
	many := strings.Repeat("  - { path: a, secret: secret/data/x#y }\n", 27_001)
	for _, tt := range []struct {
		name, text, why string
	}{
		{"unknown key", good + "fiels: []\n", `c\.yaml:2`},
		{"unknown key below", "files: [{ path: a, secret: secret/data/x#y, mod: \"0400\" }]\n", `c\.yaml:1`},
		{"key twice", good + good, `c\.yaml:2`},
		{"not YAML", "files: [\n", `c\.yaml`},
		{"a tab for indentation", "files:\n\t- path: a\n", `c\.yaml:2`},
		{"list where a map is wanted", "- a\n- b\n", `c\.yaml:1`},
		{"text where a list is wanted", "files: a\n", `c\.yaml:1`},
		{"map where text is wanted", "dir: { a: b }\n" + good, `c\.yaml:1`},
		{"key without a value", good + "vault:\n  address:\n", `c\.yaml:3`},
		{"second document", good + "---\n" + good, `c\.yaml:\d`},
		{"tag", "dir: !!binary aGFsbG8=\n" + good, `c\.yaml:1`},
		{"alias bomb", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nfiles: [*e,*e,*e]\n", `c\.yaml`},
		{"alias of itself", "files: &f [*f]\n", `c\.yaml:1`},
		{"unknown alias", "files: *nobody\n", `c\.yaml`},
		{"33 levels", "files: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", `c\.yaml:1`},
		{"81,003 values", "files:\n" + many, `c\.yaml`},
		{"5 MiB", good + "#" + strings.Repeat("a", 5<<20) + "\n", `c\.yaml`},
		{"control character", "files: [{ path: \"a\x01\", secret: secret/data/x#y }]\n", `c\.yaml`},
		{"byte that is not UTF-8", "files: [{ path: \"a\xff\", secret: secret/data/x#y }]\n", `c\.yaml`},
		{"bare decimal mode", "files: [{ path: a, secret: secret/data/x#y, mode: 400 }]\n", `c\.yaml:1`},
		{"mode that is no octal number", "files: [{ path: a, secret: secret/data/x#y, mode: \"0980\" }]\n", `c\.yaml:1`},
		{"duration without a unit", good + "timeout: 30\n", `c\.yaml:2`},
		{"negative duration", good + "expires: -5s\n", `c\.yaml:2`},
		{"duration beyond all time", good + "timeout: 99999999999h\n", `c\.yaml:2`},
		{"number where true is wanted", good + "allow_disk: 1\n", `c\.yaml:2`},
		{"unknown format", "files: [{ path: a, secret: secret/data/x, format: xml }]\n", `c\.yaml:1`},
		{"two sources of a file", "files: [{ path: a, secret: secret/data/x#y, template: b }]\n", `c\.yaml:1`},
		{"no source of a file", "files: [{ path: a }]\n", `c\.yaml:1`},
		{"one path twice", "files: [{ path: a, secret: secret/data/x#y }, { path: ./a, secret: secret/data/x#z }]\n", `c\.yaml:1`},
		{"unknown login method", good + "vault: { auth: { method: kerberos } }\n", `c\.yaml:2`},
	} {
		cases = append(cases, faultCase{name: "config: " + tt.name, args: "init -c CONF/c.yaml", files: map[string]string{"c.yaml": tt.text}, code: 78, why: tt.why, about: "none/"})
	}
	return cases
}

// badTemplates are 20 templates.
func badTemplates() (cases []faultCase) {
	const read = `{{ with secret "secret/data/x" }}`
	for _, tt := range []struct {
		name, text, why string
		code            int
	}{
		{"not closed", "a\n{{ with", `t\.tmpl:\d`, 65},
		{"no end", "{{ if true }}", `t\.tmpl:\d`, 65},
		{"end without a beginning", "a\nb\n{{ end }}", `t\.tmpl:\d`, 65},
		{"unknown function", "{{ nothing }}", `t\.tmpl:\d`, 65},
		{"unknown variable", "{{ $x }}", `t\.tmpl:\d`, 65},
		{"unknown template", `{{ template "other" }}`, `t\.tmpl:\d`, 65},
		{"template that calls itself", `{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, `t\.tmpl:\d`, 65},
		{"missing field", read + "{{ .Data.data.z }}{{ end }}", `t\.tmpl:\d`, 66},
		{"field of a text", read + "{{ .Data.data.y.z }}{{ end }}", `t\.tmpl:1`, 65},
		{"number where a path is wanted", "{{ with secret 5 }}{{ end }}", `t\.tmpl:\d`, 65},
		{"no path", "{{ with secret }}{{ end }}", `t\.tmpl:\d`, 65},
		{"path that climbs", `{{ with secret "secret/data/../../sys/seal" }}{{ end }}`, `t\.tmpl:1`, 65},
		{"path with a question mark", `{{ with secret "secret/data/x?list=true" }}{{ end }}`, `t\.tmpl:1`, 65},
		{"file outside of its folder", `{{ file "/etc/passwd" }}`, `^the function file: .*--template: a`, 78},
		{"program", `{{ plugin "sh" "-c" "id" }}`, `t\.tmpl:\d`, 65},
		{"write to a file", `{{ "a" | writeToFile "/etc/x" "" "" "0644" }}`, `^file "/etc/x": .*--template: a`, 78},
		{"base64 that is none", read + "{{ base64Decode .Data.data.y }}{{ end }}", `t\.tmpl:\d`, 65},
		{"index out of range", `{{ index (split "," "a") 5 }}`, `t\.tmpl:\d`, 66},
		{"a million spaces, a thousand times", `{{ range loop 1000 }}{{ printf "%1000000d" 1 }}{{ end }}`, `t\.tmpl: the output would be larger`, 65},
		{"loop without an end", "{{ range loop 1000000000 }}{{ range loop 1000000000 }}{{ end }}{{ end }}", `t\.tmpl:1`, 65},
	} {
		c := faultCase{name: "template: " + tt.name, args: "init -t CONF/t.tmpl:a", files: map[string]string{"t.tmpl": tt.text}, code: tt.code, why: tt.why, about: "none/"}
		cases = append(cases, c)
	}
	return cases
}

// badResponses are 15 answers of a server to a read. TestFaults has more.
func badResponses() []faultCase {
	const foreign = "the answer is not Vault's"
	deep := strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)
	value := func(json string) behaviour {
		return answers(`{"data":{"data":{"y":` + json + `},"metadata":{"created_time":"2026-01-01T00:00:00Z","version":1}}}`)
	}
	cases := []faultCase{
		{name: "not JSON", does: answers("CANARY"), code: 76, why: foreign},
		{name: "half of it", does: answers(faultKV[:len(faultKV)-9]), code: 76, why: foreign},
		{name: "two of them", does: answers(faultKV + faultKV), code: 76, why: foreign},
		{name: "an array", does: answers("[]"), code: 76, why: foreign},
		{name: "no data", does: answers("{}"), code: 76, why: "the answer holds no data"},
		{name: "data that is an array", does: answers(`{"data":[1,2]}`), code: 76, why: foreign},
		{name: "KV data that is a number", does: answers(`{"data":{"data":5,"metadata":{"version":1}}}`), code: 66, why: "secret/data/x, field y: there is no such field"},
		{name: "no field", does: answers(strings.Replace(faultKV, `"y"`, `"z"`, 1)), code: 66, why: "secret secret/data/x, field y: there is no such field"},
		{name: "null for a value", does: value("null"), code: 66, why: "secret/data/x, field y: the field is null"},
		{name: "a value that is not UTF-8", does: value("\"CANARY\xff\""), code: 76, why: foreign},
		{name: "a NUL in a variable", args: "run -e A=secret/data/x#y -- true", does: value(`"CANARY\u0000x"`), code: 125, why: "A"},
		{name: "a variable of 200 kB", args: "run -e A=secret/data/x#y -- true", does: value(`"` + strings.Repeat("a", 200_000) + `"`), code: 125, why: "A"},
		{name: "20,000 levels", does: value(deep), code: 76, why: foreign},
		{name: "17 MiB", does: value(`"` + strings.Repeat("a", 17<<20) + `"`), code: 76, why: "the answer is larger than"},
		{
			name: "a field whose name climbs", args: "init -c CONF/c.yaml", files: map[string]string{"c.yaml": "files: [{ path: a, secret: secret/data/x, format: files }]\n"},
			does: answers(`{"data":{"data":{"../../name":"CANARY"},"metadata":{"created_time":"2026-01-01T00:00:00Z","version":1}}}`), code: 78, why: `c\.yaml:1`,
		},
	}
	for i := range cases {
		cases[i].name = "response: " + cases[i].name
	}
	return cases
}

// badPlaces are 15 variables, paths and permissions.
func badPlaces() []faultCase {
	const file = "init -f a=secret/data/x#y"
	cases := []faultCase{
		{name: "address without a scheme", env: []string{"VAULT_ADDR=vault.example:8200"}, code: 78, why: "VAULT_ADDR"},
		{name: "address with a password", env: []string{"VAULT_ADDR=http://CANARY-role:CANARY-secret-id@127.0.0.1:1"}, code: 78, why: "VAULT_ADDR"},
		{name: "address that is empty", env: []string{"VAULT_ADDR="}, code: 78, why: "VAULT_ADDR"},
		{name: "token with a line break", env: []string{"VAULT_TOKEN=CANARY-token\nX: y"}, code: 78, why: "VAULT_TOKEN"},
		{name: "token file that is missing", env: []string{"VAULT_TOKEN=", "VAULT_TOKEN_FILE=CONF/none"}, code: 78, why: "none"},
		{name: "bad level of the log", env: []string{"SECRETBOOT_LOG_LEVEL=loud"}, code: 78, why: "SECRETBOOT_LOG_LEVEL"},
		{name: "bad variable of ours", env: []string{"SECRETBOOT_CONNECTIONS=many"}, code: 78, why: "SECRETBOOT_CONNECTIONS"},
		{name: "path that climbs", args: "init -f ../a=secret/data/x#y", code: 78, why: `\.\./a`},
		{name: "path with an empty part", args: "init -f a//b=secret/data/x#y", code: 78, why: `a//b`},
		{name: "path that is ours", args: "init -f ..data=secret/data/x#y", code: 78, why: `\.\.data`},
		{name: "reference that climbs", args: "init -f a=secret/../sys/raw#y", code: 64, why: "the value of --file: the reference for \"a\""},
		{name: "reference without a field", args: "init -f a=secret/data/x#", code: 64, why: "the value of --file: the reference for \"a\""},
		{name: "variable without a name", args: "run -e =secret/data/x#y -- true", code: 125, why: "--env"},
		{name: "variable that loads code", args: "run -e LD_PRELOAD=secret/data/x#y -- true", code: 125, why: "LD_PRELOAD"},
		{name: "folder on disk", args: file + " --dir CONF", whole: true, code: 73, why: "CONF|conf"},
	}
	for i := range cases {
		cases[i].name, cases[i].about = "place: "+cases[i].name, "none/"
	}
	return cases
}
