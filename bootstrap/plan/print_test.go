package plan

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full has every kind of thing, and CANARY wherever a secret could hide.
func full() Plan {
	p := Plan{
		Reads: []Read{{Path: "pki/issue/web", Op: OpWrite, Body: map[string]Handle{"key": {Kind: HandleText, Name: "CANARY"}}, Origin: at("c.yaml:9:1")}},
		Files: []File{
			{Path: "db.env", Source: Source{Template: &Template{Name: "c.yaml#files[0].template", Text: "CANARY"}}, Origin: at("c.yaml:3:5")},
			{Path: "key", Mode: 0o440, Owner: "app", Group: "65532", Optional: true, Origin: at("c.yaml:4:5"), Source: Source{Ref: &Ref{
				Read: Read{Path: "secret/app", Version: 3, KV: KV2}, Field: "key", Decode: DecodeBase64, Default: &Handle{Kind: HandleText, Name: "CANARY"},
			}}},
			{Path: "url", Command: Action{Kind: ActionExec, Argv: []string{"/bin/reload", "CANARY"}}, Refresh: Refresh{Every: Set(5*time.Minute, at("c.yaml:4:9"))}, Source: Source{Pieces: []Piece{
				{Text: &Handle{Kind: HandleEnv, Name: "URL"}, To: 9}, {Ref: &Ref{Read: Read{Path: "team/app", Else: []string{"secret/team/app"}}, Field: "{{ CANARY }}", Select: SelectTemplate}},
			}}},
			{Path: "token", Source: Source{Token: true}, Origin: at("c.yaml:4:7")},
			{Path: "strange\n\x1b[31m", Source: Source{Ref: &Ref{Read: Read{Path: "secret/all"}, Format: FormatJSON}}},
		},
		Sets: []FileSet{
			{Dir: "tls", Ref: Ref{Read: Read{Path: "pki/cert"}, Format: FormatFiles}, Origin: at("c.yaml:5:5")},
			{Dir: "", Origin: at("c.yaml:6:5"), Bundle: &Bundle{
				Parts: []Part{
					{Key: "", Find: &Find{List: "secret/metadata/team", Read: "secret/data/team", Tags: map[string]string{"a": "b"}}, Origin: at("c.yaml:6:9"), Rename: []Rename{{Transform: "CANARY"}}},
					{Key: "b", Ref: Ref{Read: Read{Path: "secret/b"}, Field: "x.y", Select: SelectPath, Level: LevelMetadata}, Convert: ConvertUnicode},
				},
				Templates: []KeyTemplate{{Key: "c", Template: Template{Name: "c.yaml#c", Text: "CANARY", Dialect: DialectExternalSecrets}}},
			}},
		},
		Env:      []Env{{Name: "PASSWORD", Source: Source{Ref: &Ref{Read: Read{Path: "secret/all"}, Field: "password"}}, Origin: at("--env")}},
		EnvSets:  []EnvSet{{Prefix: "APP_", Ref: Ref{Read: Read{Path: "secret/all"}}, Refresh: Refresh{Every: Set(time.Hour, at("c.yaml:7:1"))}, Origin: at("--from")}},
		Computed: []Origin{at("c.yaml:3:5"), at("c.yaml:6:9")},
		Timeout:  Set(90*time.Second, at("--timeout")),
		Ignored:  []Ignored{{What: "VAULT_CLIENT_TIMEOUT", Why: "it bounds one request", Origin: at("VAULT_CLIENT_TIMEOUT")}},
	}
	p.Vault.Address = Set("https://me:CANARY@vault:8200", at("VAULT_ADDR"))
	p.Vault.Proxy = Set("http://a%zz:CANARY@proxy", at("c.yaml:1:1"))
	p.Vault.TLS.CACertPEM = Set("-----BEGIN", at("c.yaml:1:2"))
	p.Vault.KV = map[string]KVRule{"secret": KV2, "old": KV1}
	p.Login.Inputs = map[string]Handle{
		"token":     {Kind: HandleEnv, Name: "VAULT_TOKEN", Origin: at("VAULT_TOKEN")},
		"secret_id": {Kind: HandleKey, Name: "vault.auth.secret_id", File: "/etc/c.yaml", Origin: at("c.yaml:2:1")},
		"role_id":   {Kind: HandleText, Name: "CANARY", Origin: at("c.yaml:2:2")},
	}
	p.Login.Params = map[string]Setting[string]{
		"audience": Set("vault", at("c.yaml:2:3")), "service_account": Set("app@p.example", at("c.yaml:2:4")),
		"sts_endpoint": Set("https://me:CANARY@sts", at("c.yaml:2:5")),
	}
	p.Login.Ambient = map[string]Handle{AmbientTokenHelper: {Kind: HandleFile, Name: "/home/u/.vault-token", Origin: at("/home/u/.vault-token")}}
	p.Vault.Headers = map[string]Handle{
		"X-Text": {Kind: HandleText, Name: "CANARY", Origin: at("c.yaml:2:6")}, "Authorization": {Kind: HandleFile, Name: "/run/basic", Origin: at("c.yaml:2:7")},
	}
	p.Vault.HeaderSet = Handle{Kind: HandleEnv, Name: "VAULT_HEADERS", Origin: at("VAULT_HEADERS")}
	p.Vault.Redirects = Set([]string{"*.vault.example", "[::1]:8200"}, at("c.yaml:2:8"))
	p.Vault.RateLimit, p.Vault.BodyLimit = Set(Rate{0.5, 3}, at("VAULT_RATE_LIMIT")), Set(int64(1<<20), at("c.yaml:2:9"))
	p.Login.Namespace, p.Receipt = Set("root/ci", at("c.yaml:2:10")), Set("/tmp/receipt.json", at("--receipt"))
	p.Listen, p.ExitWith = Set("127.0.0.1:9100", at("--listen")), Set("/run/done", at("--exit-with"))
	p.TemplateRoot = Set("/etc/templates", at("c.yaml:2:11"))
	p.Run.Command = []string{"/bin/app", "--password=CANARY"}
	p.Run.Mode = Set(RunSupervise, at("--supervise"))
	p.Refresh.OnChange = Set(Action{Kind: ActionExec, Argv: []string{"/bin/hook", "CANARY"}, Timeout: time.Second}, at("--on-change"))
	return p
}

func TestPrintGolden(t *testing.T) {
	for name, p := range map[string]Plan{"full": full(), "empty": {}} {
		for ext, print := range map[string]func(io.Writer, Plan) error{"txt": Text, "json": JSON, "hcl": Policy, "inventory": inventoryOf} {
			t.Run(name+"."+ext, func(t *testing.T) {
				var got bytes.Buffer
				if err := print(&got, p); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(got.String(), "CANARY") || strings.Contains(got.String(), "\x1b") {
					t.Errorf("a value is shown:\n%s", &got)
				}
				path := filepath.Join("testdata", name+"."+ext+".golden")
				if *update {
					if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil || got.String() != string(want) {
					t.Errorf("%v, got:\n%s\nwant:\n%s", err, &got, want)
				}
			})
		}
	}
}

// inventoryOf is Inventory with templates that all read the same.
func inventoryOf(w io.Writer, p Plan) error {
	return Inventory(w, p, func(Plan) ([]Read, []Origin, error) {
		return []Read{{Path: "secret/data/db"}, {Path: "pki/issue/web", Op: OpWrite}}, []Origin{{}}, nil
	})
}

// TestJSONNames holds the field names to lower_snake, null-free lists.
func TestJSONNames(t *testing.T) {
	var got bytes.Buffer
	if err := JSON(&got, Plan{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got.String(), "null") {
		t.Errorf("an empty list is null:\n%s", &got)
	}
	if err := JSON(&got, full()); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\s*"([^"]*)":`).FindAllStringSubmatch(got.String(), -1) {
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(m[1]) {
			t.Errorf("field %q", m[1])
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken pipe")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestPrintReportsTheWriter(t *testing.T) {
	for _, p := range []Plan{{}, full()} {
		if err := Text(brokenWriter{}, p); !errors.Is(err, errBroken) {
			t.Errorf("text: %v", err)
		}
		for _, print := range []func(io.Writer, Plan) error{JSON, Policy, inventoryOf} {
			if err := print(brokenWriter{}, p); !errors.Is(err, errBroken) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range DecodeNames() {
		if d, ok := ParseDecode(name); !ok || d.String() != name {
			t.Errorf("decode %s: %s, %v", name, d, ok)
		}
	}
	for _, name := range RunModeNames() {
		if m, ok := ParseRunMode(name); !ok || m.String() != name {
			t.Errorf("mode %s: %s, %v", name, m, ok)
		}
	}
	for want, got := range map[string]string{
		"list": OpList.String(), "unknown": Op(9).String(), "off": MaskOff.String(), "on": PTYOn.String(), "none": Action{}.String(),
		"signal:HUP": Action{Kind: ActionSignal, Signal: "HUP"}.String(), "restart": Action{Kind: ActionRestart}.String(),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if _, ok := ParseDecode("Base64"); ok {
		t.Error("names are exact")
	}
}
