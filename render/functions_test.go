package render

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// examples are what docs/templates.md has no row for: odd arguments and errors.
// The data are below testData. A want that starts with "error: " is part of the
// message.
func examples() [][2]string {
	return [][2]string{
		{`{{ with secret "a" }}{{ .Data.user }}{{ end }}`, "app"},
		{`{{ with secret "nowhere/optional" }}x{{ else }}none{{ end }}`, "none"},
		{`{{ secrets "l" | join "," }}`, "x,y"},
		{`{{ env "HOME" }}{{ env "UNSET" }}`, "/home/app"},
		{`{{ mustEnv "HOME" }}`, "/home/app"},
		{`{{ mustEnv "UNSET" }}`, `error: the variable is not set`},
		{`{{ envOrDefault "UNSET" "d" }} {{ envOrDefault "HOME" "d" }}`, "d /home/app"},
		{`{{ timestamp }} {{ timestamp "unix" }} {{ timestamp "2006" }}`, "2024-02-29T12:30:00Z 1709209800 2024"},

		{`{{ "aGVsbG8=" | base64Decode }}`, "hello"},
		{`{{ base64Decode "%%" }}`, "error: the value is not base64"},
		{`{{ "hello" | base64Encode }}`, "aGVsbG8="},
		{`{{ "_-8=" | base64URLDecode | base64URLEncode }}`, "_-8="},
		{`{{ toJSON (dict "a" "<" "b" (list 1 2)) }}`, `{"a":"\u003c","b":[1,2]}`},
		{`{{ toJSONPretty (dict "a" 1) }}`, "{\n  \"a\": 1\n}"},
		{`{{ toUnescapedJSON "<" }}`, `"<"`},
		{`{{ toUnescapedJSONPretty (list "<") }}`, "[\n  \"<\"\n]"},
		{`{{ toYAML (dict "a" (list "yes" "1" 1)) }}`, "a:\n- \"yes\"\n- \"1\"\n- 1"},
		{`{{ (parseJSON "{\"a\":1.50}").a }}`, "1.50"},
		{`{{ len (parseJSON "") }}`, "0"},
		{`{{ parseJSON "{} x" }}`, "error: something follows after the JSON value"},
		{`{{ (parseYAML "a: [1, x]").a | join "-" }}`, "error: has an element that is a whole number, but must be text"},
		{`{{ index (parseYAML "a: [1, x]").a 1 }}`, "x"},
		{`{{ parseYAML "{a: 2001-01-01, b: 08, c: 1e3, 4: yes, d: 123456789012345678901234567890, e: 0x1F, f: 1.5}" | toJSON }}`, `{"4":"yes","a":"2001-01-01","b":"08","c":"1e3","d":"123456789012345678901234567890","e":31,"f":1.5}`},
		{`{{ (parseYAML "a: &x {b: 1}\nc: {<<: *x}").c.b }}{{ len (parseYAML "") }}{{ if parseYAML "# x" }}y{{ end }}`, "10"},
		{`{{ parseYAML "a: 1\na: 2" }}`, "error: the value is not YAML"},
		{`{{ parseYAML "a: [1\n---\nb: 2" }}`, "error: the value is not YAML"},
		{`{{ sha256Hex "a" }}`, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
		{`{{ md5sum "a" }}`, "0cc175b9c0f1b6a831c399e269772661"},
		{`{{ hmacSHA256Hex "message" "key" }}`, "6e9ef29b75fffc5b7abae527d58fdadb2fe42e7219011976917343065f58ed4a"},

		{`{{ "a\n\nb\n" | indent 2 }}`, "  a\n\n  b\n"},
		{`{{ .Data | len }}`, "error: argument 1 of len is missing"},
		{`{{ split "," "a,b" | join "+" }}`, "a+b"},
		{`{{ len (split "," "  ") }}`, "0"},
		{`{{ "a.b" | replaceAll "." "_" }}`, "a_b"},
		{`{{ trim "-" "--a--" }}`, "a"},
		{`{{ trimPrefix "x/" "x/a" }}`, "a"},
		{`{{ trimSuffix "/x" "a/x" }}`, "a"},
		{`{{ trimSpace " a\n" }}`, "a"},
		{`{{ toLower "Ab" }}{{ toUpper "Ab" }}{{ toTitle "ab cd" }}`, "abABAb Cd"},
		{`{{ regexMatch "^a+$" "aaa" }}`, "true"},
		{`{{ regexMatch "(" "aaa" }}`, "error: the regular expression has a syntax error"},
		{`{{ regexReplaceAll "(.)b" "$1" "ab" }}`, "a"},

		{`{{ contains 2 (list 1 2) }} {{ in (list "a") "b" }} {{ in "text" "ex" }}`, "true false true"},
		{`{{ with secret "a" }}{{ .Data.list | contains "x" }}{{ end }}`, "true"},
		{`{{ containsAll (list 1 3) (list 1 2) }} {{ containsAny (list 1 3) (list 1 2) }}`, "false true"},
		{`{{ containsNone (list 3 4) (list 1 2) }} {{ containsNotAll (list 1 3) (list 1 2) }}`, "true true"},
		{`{{ explodeMap (dict "a/b" 1 "c" 2) | toJSON }}`, `{"a":{"b":1},"c":2}`},
		{`{{ explodeMap (dict "a" 1 "a/b" 2) }}`, `error: a key is below one that has a value itself`},
		{`{{ range loop 3 }}{{ . }}{{ end }}{{ range loop 5 7 }}{{ . }}{{ end }}`, "01256"},

		{`{{ with secret "a" }}{{ add 1 .Data.port }} {{ .Data.port | subtract 2 }} {{ multiply 2 .Data.port }}{{ end }}`, "5433 5430 10864"},
		{`{{ with secret "a" }}{{ add 1 .Data.big }} {{ add 0.5 .Data.fraction }}{{ end }}`, "12345678901234567891 2"},
		{`{{ 7 | divide 2 }} {{ 7.0 | divide 2 }} {{ 7 | modulo 4 }}`, "3 3.5 3"},
		{`{{ divide 0 1 }}`, "error: division by zero"},
		{`{{ add 1 "1" }}`, "error: one of the values is not a number"},
		{`{{ minimum 1 2 }} {{ maximum 1 2 }}`, "1 2"},
		{`{{ parseBool "true" }} {{ parseInt "-7" }} {{ parseUint "7" }} {{ parseFloat "1.5" }} {{ parseInt "" }}`, "true -7 7 1.5 0"},
		{`{{ parseInt "x" }}`, "error: the value is not a number of this kind"},

		{`{{ toTOML (parseJSON "{\"a\":1.50,\"b\":[1,2],\"c\":{\"d\":\"x\\n\"}}") }}`, "a = 1.5\nb = [1, 2]\n\n[c]\n  d = \"x\\n\""},
		{`{{ toTOML (parseJSON "{\"a\":12345678901234567890}") }}`, "error: TOML cannot carry a whole number beyond 64 bits"},
		{`{{ toTOML (parseJSON "{\"a\":null}") }}`, "error: a value inside the list or map is null"},
		{`{{ toTOML (list 1) }}`, "error: argument 1 of toTOML is a list, but must be a map"},

		{`{{ and true "x" }} {{ or "" "y" }} {{ not true }}`, "x y false"},
		{`{{ print "a" 1 2 }}{{ println "a" }}`, "a1 2a\n"},
		{`{{ printf "%s-%05d %q %%" "a" 7 "b" }}`, `a-00007 "b" %`},
		{`{{ with secret "a" }}{{ printf "%d %s %v %q %.1f %x" .Data.port .Data.port .Data.port .Data.port .Data.fraction .Data.port }}{{ end }}`, `5432 5432 5432 "5432" 1.5 1538`},
		{`{{ printf "%d" "text" }}`, "error: the format and the values do not fit together"},
		{`{{ printf "%s" }}`, "error: the format and the values do not fit together"},
		{`{{ printf "%s" "%!s(x)" }} {{ printf "100%%" }}`, "%!s(x) 100%"},
		{`{{ printf "x" "extra" }}`, "error: the format and the values do not fit together"},
		{`{{ html "<" }}{{ js "'" }}{{ urlquery "a b" }}`, `&lt;\'a+b`},
		{`{{ with secret "a" }}{{ index .Data "user" }} {{ index .Data.list 1 }} {{ index .Data.map "k" }}{{ end }}`, "app y v"},
		{`{{ with secret "a" }}{{ index .Data "nope" }}{{ end }}`, "error: the value is missing"},
		{`{{ with secret "a" }}{{ if index .Data "nope" }}x{{ else }}tested{{ end }}{{ end }}`, "tested"},
		{`{{ index (list 1) 5 }}`, "error: the index is outside the list"},
		{`{{ slice "abcd" 1 3 }} {{ slice (list 1 2 3) 1 | toJSON }}`, "bc [2,3]"},
		{`{{ len "abc" }} {{ len (list 1) }}`, "3 1"},
		{`{{ with secret "a" }}{{ eq .Data.port 5432 }} {{ eq .Data.port "5432" }} {{ ne .Data.user "app" }}{{ end }}`, "true true false"},
		{`{{ eq "a" "b" "a" }} {{ eq true "true" }}`, "error: true or false cannot be compared with text"},
		{`{{ lt 1 2 }} {{ le 2 2 }} {{ gt 1.5 1 }} {{ ge "a" "b" }}`, "true true true false"},

		{`{{ "x" | default "d" }} {{ "" | default "d" }} {{ sprig_trim " a " }} {{ "a" | upper }}`, "x d a A"},
		{`{{ sprig_contains "b" "abc" }} {{ quote "a" 1 }} {{ b64dec "YQ==" }} {{ b32dec "ME======" }}`, `true "a" "1" a a`},
		{`{{ b64dec "%" }}`, "error: the value is not base64"},
		{`{{ get (dict "a" 1) "b" }}`, "error: the value is missing"},
		{`{{ fromJson "[1.50]" | first }}`, "1.50"},
		{`{{ with secret "a" }}{{ max .Data.port 1 }} {{ add1 .Data.port }} {{ range until .Data.two }}{{ . }}{{ end }} {{ int .Data.port }}{{ end }}`, "5432 5433 01 5432"},
		{`{{ dig "a" "b" "none" (dict "a" (dict "b" "x")) }}`, "x"},
		{`{{ expandenv "$HOME" }}`, "error: there is no function expandenv"},
		{`{{ sprig_env "HOME" }}`, "error: there is no function sprig_env"},
		{`{{ getHostByName "localhost" }}`, "error: there is no function getHostByName"},
		{`{{ call "x" }}`, "error: has nothing to call"},
		{`{{ fail "stop" }}`, `error: <fail "stop">: the template calls fail`},
		{`{{ _call 1 }}`, "error: there is no function _call"},

		{`{{ with secret "a" }}{{ .Data.bin | base64Decode }}{{ end }}`, "\x00\xff\xfe"},
		{`{{ with secret "a" }}{{ .Data.bin | base64Decode | toJSON }}{{ end }}`, "error: bytes that are not UTF-8"},
		{`{{ secret "a" }}`, "error: this is a whole secret"},
		{`{{ printf "%v" (secret "a") }}`, "error: this is a whole secret"},
		{`{{ (secret "a").Nope }}`, "error: the value on the left has no such field"},
		{`{{ with secret "a" }}{{ .Data.null.x }}{{ end }}`, "error: there is no such value"},
		{`{{ with secret "a" }}{{ .Data.nope.x.y }}{{ end }}`, "error: the value is missing"},
		{`{{ with secret "a" }}{{ .Data.nope | toJSON }}{{ end }}`, "error: argument 1 of toJSON is missing"},
		{`{{ with secret "a" }}{{ quote .Data.null }}{{ end }}`, "error: argument 1 of quote is missing"},
		{`{{ with secret "a" }}{{ print (list .Data) }}{{ end }}`, "error: a value inside the list or map is null"},
		{`{{ with secret "a" }}{{ .Data.user.x }}{{ end }}`, "error: the value on the left has no such field"},
		{`{{ secret "a#user" }}`, "error: a path in a template has no #FIELD"},
		{`{{ secret "a" "novalue" }}`, `error: an argument after the path is not "key=value"`},
		{`{{ secret "a?version=x" }}`, "error: the version must be a whole number"},
		{`{{ secret "../sys" }}`, "error: the path has an empty, . or .. element"},
	}
}

func testData(t testing.TB) Input {
	answers := answersOf(t, `{
		"a": {"user": "app", "port": 5432, "two": 2, "big": 12345678901234567890, "fraction": 1.50, "list": ["x", "y"],
			"map": {"k": "v"}, "null": null, "bin": "AP/+"},
		"l/": {"keys": ["x", "y"]}}`)
	answers["read nowhere/optional"] = Answer{}
	return Input{Answers: answers, Lookup: func(name string) (string, bool) {
		if name == "HOME" {
			return "/home/app", true
		}
		return "", false
	}}
}

func TestExamples(t *testing.T) {
	for _, tc := range examples() {
		out, err := execute(t, tc[0], testData(t))
		if message, ok := strings.CutPrefix(tc[1], "error: "); ok {
			if err == nil || !strings.Contains(err.Error(), message) {
				t.Errorf("%s\n got %v %q\nwant error %s", tc[0], err, out.Bytes.Reveal(), message)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc[0], err)
		} else if got := string(out.Bytes.Reveal()); got != tc[1] {
			t.Errorf("%s\n got %q\nwant %q", tc[0], got, tc[1])
		}
	}
}

// TestTraitsNameFunctions finds a misspelt name in sprigTraits.
func TestTraitsNameFunctions(t *testing.T) {
	all := newTable().whole()
	for name := range sprigTraits() {
		if all["sprig_"+name] == nil {
			t.Errorf("sprig has no function %s", name)
		}
	}
}

// consulTemplateNames are all the functions of consul-template 0.41, but for
// those of sprig.
func consulTemplateNames() []string {
	return strings.Fields(`datacenters exportedServices importedServices file key keyExists keyOrDefault ls safeLs node nodes partitions
		peerings secret secrets service connect services tree safeTree caRoots caLeaf pkiCert nomadServices nomadService
		nomadVarList nomadVarListSafe nomadVar nomadVarExists scratch base64Decode base64Encode base64URLDecode base64URLEncode
		byKey byPort byTag byMeta contains containsAll containsAny containsNone containsNotAll env mustEnv envOrDefault
		executeTemplate explode explodeMap mergeMap mergeMapWithOverride in indent loop join trim trimPrefix trimSuffix trimSpace
		parseBool parseFloat parseInt parseJSON parseUint parseYAML plugin regexReplaceAll regexMatch replaceAll sha256Hex md5sum
		hmacSHA256Hex timestamp toLower toJSON toJSONPretty toUnescapedJSON toUnescapedJSONPretty toTitle toTOML toUpper toYAML
		split splitToMap sockaddr writeToFile add subtract multiply divide modulo minimum maximum spew_dump spew_printf
		spew_sdump spew_sprintf`)
}

// TestConsulTemplateNames: each of them is there, or says why not.
func TestConsulTemplateNames(t *testing.T) {
	all := newTable()
	for _, name := range consulTemplateNames() {
		if all.whole()[name] == nil && all.absent[name] == "" {
			t.Errorf("%s is neither there nor explained", name)
		}
	}
}

// TestErrorsHoldNoData gives every function a canary where it cannot be used.
func TestErrorsHoldNoData(t *testing.T) {
	in := Input{
		Answers: answersOf(t, `{"a": {"x": "`+canary+`", "m": {"`+canary+`": 1}, "l": ["`+canary+`"]}}`),
		Lookup:  func(string) (string, bool) { return canary, true },
		File: func(path string) ([]byte, error) {
			return nil, &plan.Problem{Code: plan.CodeMissing, Why: "there is no such file"}
		},
	}
	failed := 0
	table := newTable()
	for name, f := range table.whole() {
		least, _ := f.arity()
		for _, arg := range []string{".Data.x", ".Data.m", ".Data.l", "(list .Data.x 1)"} {
			text := `{{ with secret "a" }}{{ ` + name + strings.Repeat(" "+arg, max(least, 1)) + ` }}{{ end }}`
			if name == "secret" || name == "secrets" || name == "pkiCert" {
				continue // a path is no secret; see below
			}
			if _, err := execute(t, text, in); err != nil {
				failed++
				checkNoData(t, text, err)
			}
		}
	}
	if failed < 100 {
		t.Errorf("only %d calls failed: the test does not reach what it is for", failed)
	}
	for _, text := range []string{
		`{{ with secret "a" }}{{ .Data.x.y }}{{ end }}`,
		`{{ with secret "a" }}{{ range .Data.x }}{{ end }}{{ end }}`,
		`{{ with secret "a" }}{{ range $a, $b := len .Data.x }}{{ end }}{{ end }}`,
		`{{ with secret "a" }}{{ .Data.m.x.y.z }}{{ end }}`,
		`{{ with secret "a" }}{{ secret "w" .Data.x }}{{ end }}`,
		`{{ with secret "a" }}{{ secret (print .Data.x "%zz") }}{{ end }}`,
		`{{ with secret "a" }}{{ fail .Data.x }}{{ end }}`,
		`{{ with secret "a" }}{{ index .Data .Data.l }}{{ end }}`,
		`{{ with secret "a" }}{{ toDate "2006" "2024" | .Data.x }}{{ end }}`,
		`{{ with secret "a" }}{{ (toDate "2006" "2024").Format .Data.m }}{{ end }}`,
		`{{ with secret "a" }}{{ (toDate "2006" "2024").AddDate .Data.x }}{{ end }}`,
		`{{ with secret "a" }}{{ (parseJSON "1").Int64 .Data.x }}{{ end }}`,
		`{{ with secret "a" }}{{ (semver .Data.x).Major }}{{ end }}`,
	} {
		if _, err := execute(t, text, in); err == nil {
			t.Errorf("%s: no error", text)
		} else {
			checkNoData(t, text, err)
		}
	}
}

func checkNoData(t *testing.T, text string, err error) {
	t.Helper()
	var p *plan.Problem
	if !errors.As(err, &p) || p.Code != plan.CodeData && p.Code != plan.CodeMissing {
		t.Errorf("%s: %v", text, err)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.Contains(e.Error(), canary) {
			t.Errorf("%s: the error holds data: %v", text, e)
		}
	}
}

func TestTemplatesEnd(t *testing.T) {
	for _, text := range []string{
		`{{ range until 1000000000 }}x{{ end }}`,
		`{{ range untilStep 0 9000000000000000000 8999999999999999999 }}x{{ end }}`,
		`{{ range loop 1000000000 }}{{ end }}`,
		`{{ range 1000000000 }}{{ end }}`,
		`{{ $l := loop 100000 }}{{ range $l }}{{ range $l }}{{ end }}{{ end }}`,
		`{{ seq 1 1000000000 }}`,
		`{{ repeat 1000000000 "x" }}`,
		`{{ "x" | indent 1000000000 }}`,
		`{{ "x" | nindent 1000000000 }}`,
		`{{ $s := "x" }}{{ range loop 100 }}{{ $s = print $s $s }}{{ end }}{{ $s }}`,
		`{{ $s := repeat 10000 "x" }}{{ replaceAll "x" $s $s }}`,
		`{{ $s := repeat 10000 "x" }}{{ regexReplaceAll "x" $s $s }}`,
		`{{ $s := repeat 10000 "x" }}{{ wrapWith 1 $s $s }}`,
		`{{ $l := list 1 }}{{ range loop 100 }}{{ $l = list $l $l }}{{ end }}{{ $l }}`,
		`{{ $l := list 1 }}{{ range loop 100 }}{{ $l = list $l $l }}{{ end }}{{ toJSON $l }}`,
		`{{ $l := list 1 }}{{ range loop 1000 }}{{ $l = list $l }}{{ end }}{{ $l }}`,
		`{{ $d := dict }}{{ $_ := set $d "x" $d }}{{ $d }}`,
		`{{ $d := dict }}{{ $_ := merge $d (dict "x" $d) }}{{ toYAML $d }}`,
		`{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`,
		`{{ define "x" }}{{ template "y" }}{{ template "y" }}{{ end }}{{ define "y" }}{{ template "x" }}{{ end }}{{ template "x" }}`,
		`{{ $s := repeat 1000000 "x" }}{{ range loop 20 }}{{ $s }}{{ end }}`,
		`{{ range loop 1000 }}{{ genPrivateKey "ecdsa" | len }}{{ end }}`,
		`{{ uniq (until 100000) }}`,
		`{{ parseYAML "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]" }}`,
		`{{ define "l" }}{{ secret (print "x" .) }}{{ template "l" (print . "y") }}{{ end }}{{ template "l" "" }}`,
	} {
		start := time.Now()
		_, err := execute(t, text, Input{})
		if plan.CodeOf(err) != plan.CodeData {
			t.Errorf("%s: %v", text, err)
		} else if !errors.Is(err, errBudget) && !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("%s: ended by accident: %v", text, err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", text, took)
		}
	}
}

func TestOutputOfExactlyTheBound(t *testing.T) {
	text := `{{ $s := repeat 1048576 "x" }}{{ range loop 16 }}{{ $s }}{{ end }}`
	out, err := execute(t, text, Input{})
	if err != nil || out.Bytes.Len() != maxOutput {
		t.Errorf("%d bytes, %v", out.Bytes.Len(), err)
	}
	if _, err := execute(t, text+"x", Input{}); plan.CodeOf(err) != plan.CodeData {
		t.Errorf("one byte more: %v", err)
	}
}
