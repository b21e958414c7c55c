package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/process"
)

// emptyVault has every secret; each is its own path.
type emptyVault struct{ values map[string]string }

func (emptyVault) Login(context.Context) error { return nil }
func (emptyVault) HasLeases() bool             { return false }
func (emptyVault) Token() secret.Value         { return secret.Value{} }
func (emptyVault) Close(context.Context) error { return nil }

func (v emptyVault) Generation() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	return func(_ context.Context, r plan.Read, _ map[string]secret.Value) (secret.Secret, error) {
		return secret.Secret{Data: secret.NewTree(map[string]any{"v": v.values[r.Path]})}, nil
	}
}

// emptySink takes files and forgets them.
type emptySink struct{}

func (emptySink) Dir() string                         { return "/run/secrets" }
func (emptySink) Folders() []string                   { return []string{"/run/secrets"} }
func (emptySink) Descriptors() map[string]int         { return nil }
func (emptySink) Check(string) error                  { return nil }
func (emptySink) CheckAccess(plan.File) error         { return nil }
func (emptySink) Stage(plan.File, secret.Value) error { return nil }
func (emptySink) Commit() error                       { return nil }
func (emptySink) Deliver() error                      { return nil }
func (emptySink) Shred() error                        { return nil }
func (emptySink) Delivered() []receipt.File           { return nil }

func (emptyVault) Identify(context.Context) {}

func (emptyVault) Record() (receipt.Server, receipt.Login, []receipt.Read) {
	return receipt.Server{}, receipt.Login{}, nil
}

// heldWith gives what a run leaves behind that delivers variables, as
// NAME=VALUE in order, and perhaps a file.
func heldWith(t *testing.T, withFile bool, variables ...string) *bootstrap.Held {
	t.Helper()
	var p plan.Plan
	v := emptyVault{map[string]string{}}
	for i, entry := range variables {
		name, value, _ := strings.Cut(entry, "=")
		path := fmt.Sprintf("s%d", i)
		v.values[path] = value
		p.Env = append(p.Env, plan.Env{Name: name, Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: path}, Field: "v"}}})
	}
	d := bootstrap.Deps{Log: slog.New(slog.DiscardHandler), Vault: func() (bootstrap.Vault, error) { return v, nil }}
	if withFile {
		p.Files = []plan.File{{Path: "f", Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "f"}, Field: "v"}}}}
		d.Sink = func() (bootstrap.Sink, error) { return emptySink{}, nil }
	}
	job, err := bootstrap.New(p, d)
	if err != nil {
		t.Fatal(err)
	}
	held, err := job.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func TestEnvironment(t *testing.T) {
	yes := plan.Set(true, plan.Origin{})
	inputs := map[string]plan.Handle{
		"role_id":   {Kind: plan.HandleEnv, Name: "MY_ROLE"},
		"secret_id": {Kind: plan.HandleFile, Name: "NOT_A_VARIABLE"},
	}
	tests := []struct {
		name      string
		run       plan.Run
		inputs    map[string]plan.Handle
		file      bool
		inherited string // with | between
		declared  string
		want      string
	}{
		{"inherited", plan.Run{}, nil, false, "A=1|B=|C=x=y", "", "A=1|B=|C=x=y"},
		{"the last one wins, in the first one's place", plan.Run{}, nil, false, "A=1|B=2|A=3", "", "A=3|B=2"},
		{"declared wins", plan.Run{}, nil, false, "A=1|B=2", "A=s|C=t", "A=s|B=2|C=t"},
		{"no name, no value", plan.Run{}, nil, false, "A|B=2", "", "B=2"},
		{"our settings", plan.Run{}, nil, false, "SECRETBOOT_DIR=/old|SECRETBOOT_X=1|SECRETBOOT=1|MY_SECRETBOOT_X=1", "", "SECRETBOOT=1|MY_SECRETBOOT_X=1"},
		{"Vault's credentials", plan.Run{}, nil, false, "VAULT_TOKEN=t|VAULT_TOKEN_FILE=f|VAULT_ROLE_ID=r|VAULT_ROLE_ID_FILE=f|VAULT_SECRET_ID=s|VAULT_SECRET_ID_FILE=f", "", ""},
		{"Vault's address", plan.Run{}, nil, false, "VAULT_ADDR=a|VAULT_NAMESPACE=n|VAULT_TOKENS=x", "", "VAULT_ADDR=a|VAULT_NAMESPACE=n|VAULT_TOKENS=x"},
		{"where inputs came from", plan.Run{}, inputs, false, "MY_ROLE=r|MY_ROLE_2=x|NOT_A_VARIABLE=x", "", "MY_ROLE_2=x|NOT_A_VARIABLE=x"},
		{"a declared token", plan.Run{}, nil, false, "VAULT_TOKEN=ours", "VAULT_TOKEN=app", "VAULT_TOKEN=app"},
		{"kept", plan.Run{KeepCredentials: yes}, inputs, false, "VAULT_TOKEN=t|MY_ROLE=r|SECRETBOOT_X=1", "", "VAULT_TOKEN=t|MY_ROLE=r|SECRETBOOT_X=1"},
		{"pristine", plan.Run{Pristine: yes}, nil, true, "A=1|PATH=/bin", "B=s", "SECRETBOOT_DIR=/run/secrets|B=s"},
		{"pristine and kept", plan.Run{Pristine: yes, KeepCredentials: yes}, nil, false, "VAULT_TOKEN=t", "", ""},
		{"only what is allowed", plan.Run{EnvAllow: globs("A", "LC_*")}, nil, false, "A=1|AB=2|LC_ALL=C|B=3", "", "A=1|LC_ALL=C"},
		{"not what is denied", plan.Run{EnvDeny: globs("*_TOKEN", "?")}, nil, false, "A=1|AB=2|MY_TOKEN=t|TOKEN=u", "", "AB=2|TOKEN=u"},
		{"denied although allowed", plan.Run{EnvAllow: globs("A*"), EnvDeny: globs("AB")}, nil, false, "A=1|AB=2|B=3", "AB=s", "A=1|AB=s"},
		{"pristine but for", plan.Run{Pristine: yes, EnvAllow: globs("PATH")}, nil, false, "A=1|PATH=/bin", "", "PATH=/bin"},
		{"ours, allowed or not", plan.Run{EnvAllow: globs("*")}, nil, false, "VAULT_TOKEN=t|A=1", "", "A=1"},
		{"the folder", plan.Run{}, nil, true, "SECRETBOOT_DIR=/old|A=1", "", "A=1|SECRETBOOT_DIR=/run/secrets"},
		{"the folder, kept", plan.Run{KeepCredentials: yes}, nil, true, "SECRETBOOT_DIR=/old|A=1", "", "SECRETBOOT_DIR=/run/secrets|A=1"},
		{"lines and spaces", plan.Run{}, nil, false, "", "A= a\nb ", "A= a\nb "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tg := &target{run: tt.run, inputs: slices.Collect(maps.Values(tt.inputs)), environ: split(tt.inherited)}
			got, err := tg.environment(heldWith(t, tt.file, split(tt.declared)...))
			if err != nil || !slices.Equal(got, split(tt.want)) {
				t.Errorf("%q, %v; want %q", got, err, split(tt.want))
			}
		})
	}
}

func globs(list ...string) plan.Setting[[]string] { return plan.Set(list, plan.Origin{}) }

// TestEnvironmentTotal: what is too long together is said before execve(2)
// would, with the name of the longest.
func TestEnvironmentTotal(t *testing.T) {
	argv, env := []string{"app"}, []string{"SHORT=1", "LONG=" + strings.Repeat("x", 1000)}
	size := uint64(4 + 8 + 8 + 8 + 1006 + 8)
	if err := checkTotal(argv, env, size); err != nil {
		t.Errorf("just fits: %v", err)
	}
	err := checkTotal(argv, env, size-1)
	if plan.CodeOf(err) != plan.CodeData || !strings.Contains(err.Error(), "the longest is LONG") || strings.Contains(err.Error(), "xxx") {
		t.Errorf("too long: %v", err)
	}
	if got := argMax(); got < 128<<10 || got > 6<<20 {
		t.Errorf("argMax is %d", got)
	}
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

// TestEnvironmentGuards: what the kernel would refuse is said before, and all
// of it together.
func TestEnvironmentGuards(t *testing.T) {
	t.Chdir(".") // who supervises goes to /
	const canary = "CANARY-s3cr3t"
	longest := maxEnvString - len("A=") - 1
	tg := &target{}
	env, err := tg.environment(heldWith(t, false, "A="+strings.Repeat("a", longest)))
	if err != nil {
		t.Fatalf("one byte less than too long: %v", err)
	}
	tg.path, tg.run.Command = "/proc/self/exe", []string{"child"}
	tg.log = slog.New(slog.DiscardHandler)
	if code, err := tg.supervise(env, nil); err != nil || code != 0 { // the kernel agrees
		t.Errorf("code %d, %v", code, err)
	}
	long := canary + strings.Repeat("a", longest+1-len(canary))
	if _, err := tg.supervise([]string{"A=" + long}, nil); plan.CodeOf(err) != plan.CodeNotExecutable || !strings.Contains(err.Error(), "too long together") {
		t.Errorf("the kernel takes more than we think: %v", err)
	}
	_, err = tg.environment(heldWith(t, false, "A="+long, "B="+canary+"\x00", "C=fine"))
	var ps plan.Problems
	if !errors.As(err, &ps) || len(ps) != 2 || ps[0].Code != plan.CodeData || ps[1].Code != plan.CodeData ||
		!strings.Contains(ps[0].Error(), "variable A: its value is longer than the 128 KiB") || !strings.Contains(ps[1].Error(), "variable B: its value has a NUL byte") {
		t.Errorf("%v", err)
	}
	if strings.Contains(err.Error(), canary) {
		t.Error("the error holds the value")
	}
}

func TestStartProblem(t *testing.T) {
	tests := []struct {
		err  error
		code plan.Code
		why  string
	}{
		{syscall.ENOENT, plan.CodeNotFound, "command app: not found"},
		{fmt.Errorf("execve: %w", syscall.ENOENT), plan.CodeNotFound, "not found"},
		{syscall.EISDIR, plan.CodeNotExecutable, "is a directory"},
		{syscall.EACCES, plan.CodeNotExecutable, "permission denied"},
		{syscall.ENOEXEC, plan.CodeNotExecutable, "not a program that the kernel can execute"},
		{syscall.E2BIG, plan.CodeNotExecutable, "too long together"},
		{syscall.ETXTBSY, plan.CodeNotExecutable, "text file busy"},
		{syscall.EAGAIN, plan.CodeNotExecutable, "resource temporarily unavailable"},
		{syscall.ENOMEM, plan.CodeNotExecutable, "cannot allocate memory"},
		{errors.New("CANARY"), plan.CodeNotExecutable, "cannot be used"},
	}
	for _, tt := range tests {
		err := startProblem("app", tt.err)
		if plan.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.why) || strings.Contains(err.Error(), "CANARY") || !errors.Is(err, tt.err) {
			t.Errorf("%v: %v (code %d)", tt.err, err, plan.CodeOf(err))
		}
	}
}

// TestTargetCheck: what is found is what is started, and what cannot be is
// known before anything else is done.
func TestTargetCheck(t *testing.T) {
	t.Chdir(".") // who supervises goes to /
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("plain", "", 0o600)
	write("text", "no first line", 0o700)
	write("nowhere", "#!/no/such/interpreter\n", 0o700)
	tests := []struct {
		command string
		check   plan.Code // 0: found
		start   plan.Code // when found
	}{
		{"none", plan.CodeNotFound, 0},
		{"plain", plan.CodeNotExecutable, 0},
		{dir, plan.CodeNotExecutable, 0},
		{dir + "/none", plan.CodeNotFound, 0},
		{"text", 0, plan.CodeNotExecutable},
		{"nowhere", 0, plan.CodeNotFound},
	}
	for _, tt := range tests {
		tg := &target{run: plan.Run{Command: []string{tt.command}}, environ: []string{"PATH=/none", "PATH=" + dir}, log: slog.New(slog.DiscardHandler)}
		err := tg.Check()
		if tt.check != 0 {
			if plan.CodeOf(err) != tt.check {
				t.Errorf("%s: %v", tt.command, err)
			}
			continue
		}
		if err != nil || tg.path != filepath.Join(dir, tt.command) {
			t.Errorf("%s: found %q, %v", tt.command, tg.path, err)
		}
		if _, err := tg.supervise(nil, nil); plan.CodeOf(err) != tt.start {
			t.Errorf("%s: supervise: %v", tt.command, err)
		}
		if err := tg.replace(nil); plan.CodeOf(err) != tt.start {
			t.Errorf("%s: replace: %v", tt.command, err)
		}
	}
}

func TestReplaceOrSupervise(t *testing.T) {
	for _, tt := range []struct {
		mode         plan.RunMode
		file, wanted bool
	}{
		{plan.RunAuto, false, true},
		{plan.RunAuto, true, false},
		{plan.RunReplace, true, true},
		{plan.RunSupervise, false, false},
	} {
		tg := &target{run: plan.Run{Mode: plan.Set(tt.mode, plan.Origin{})}}
		if got := tg.replaces(heldWith(t, tt.file)); got != tt.wanted {
			t.Errorf("%v with a file %v: replaces %v", tt.mode, tt.file, got)
		}
		tg.streams = &process.Streams{} // somebody has to look at them
		if got := tg.replaces(heldWith(t, tt.file)); got != (tt.mode == plan.RunReplace) {
			t.Errorf("%v with a file %v and streams: replaces %v", tt.mode, tt.file, got)
		}
	}
	if d := (&target{}).spec(nil).KillTimeout; d != 6*time.Second {
		t.Errorf("kill timeout %v, but docker stop gives ten seconds for all", d)
	}
}

func TestExitCode(t *testing.T) {
	own := []plan.Code{
		plan.CodeUsage, plan.CodeData, plan.CodeMissing, plan.CodeUnavailable, plan.CodeBug, plan.CodeSink, plan.CodeIO,
		plan.CodeProtocol, plan.CodeDenied, plan.CodeConfig, plan.CodeUnwrapped, plan.CodeLeak,
	}
	for _, code := range own {
		if got := (&app{}).exitCode(code); got != int(code) {
			t.Errorf("%d became %d", code, got)
		}
		if got := (&app{wrapping: true}).exitCode(code); got != 125 {
			t.Errorf("under run, %d became %d", code, got)
		}
	}
	for _, code := range []plan.Code{126, 127} {
		for _, wrapping := range []bool{false, true} {
			if got := (&app{wrapping: wrapping}).exitCode(code); got != int(code) {
				t.Errorf("%d became %d", code, got)
			}
		}
	}
}
