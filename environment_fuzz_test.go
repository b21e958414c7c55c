package main

import (
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// FuzzEnvironment builds the environment of a command, and has the kernel and env(1)
// say what the command gets: each name once, a declared value before an inherited one,
// nothing that is about us or is kept back, every byte as it was; and whatever we refuse
// nothing is started with.
func FuzzEnvironment(f *testing.F) {
	f.Add("PATH=/bin\x00A=1\x00A=2\x00VAULT_TOKEN=x\x00SECRETBOOT_LOG=y\x00=odd\x00none", "v\x00two", "/dev/shm/x", false, "A*")
	f.Add("A=1\x00VAULT_SECRET_ID_FILE=x\x00LOGIN=y\x00NOTIFY_SOCKET=z", "line\nof it\x00=", "", true, "LOG*")
	f.Add("\xff=\xff\x00A==", strings.Repeat("x", 1000)+"\x00\x00", "", false, "[")
	f.Fuzz(func(t *testing.T, environ, values, dir string, pristine bool, deny string) {
		if strings.Contains(dir, "\x00") {
			t.Skip("no folder has such a name")
		}
		tg := &target{
			environ: strings.Split(environ, "\x00"), log: slog.New(slog.DiscardHandler),
			inputs: []plan.Handle{{Kind: plan.HandleEnv, Name: "LOGIN"}},
		}
		tg.run.Command = []string{"env", "-0"}
		tg.run.EnvDeny = plan.Set([]string{deny}, plan.Origin{})
		tg.run.Pristine = plan.Set(pristine, plan.Origin{})
		declared, refused := declaredVariables(values)
		want := wantedEnvironment(tg, dir, pristine)
		for _, v := range declared {
			want[v.Name] = string(v.Value.Reveal())
		}
		env, err := tg.environmentOf(dir, nil, declared)
		if (err != nil) != refused {
			t.Fatalf("%v, although it can be started: %v", err, !refused)
		}
		if err != nil {
			return
		}
		cmd := exec.Command("/usr/bin/env", "-0")
		cmd.Env = env
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("the kernel refuses %q: %v", env, err)
		}
		got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		if len(out) == 0 {
			got = nil
		}
		var entries []string
		for name, value := range want {
			entries = append(entries, name+"="+value)
		}
		slices.Sort(got)
		slices.Sort(entries)
		if !slices.Equal(got, entries) {
			t.Fatalf("the command gets %q, want %q", got, entries)
		}
	})
}

// declaredVariables makes a variable of each text; refused tells that no process can
// have one of them. A text with an odd number of letters a has a NUL put into it.
func declaredVariables(texts string) (vars []bootstrap.Variable, refused bool) {
	names := []string{"A", "B", "PATH", "VAULT_TOKEN", "_x"}
	for i, value := range strings.SplitN(texts, "\x00", len(names)) {
		if strings.Count(value, "a")%2 == 1 {
			value = strings.Replace(value, "a", "\x00", 1)
		}
		refused = refused || strings.Contains(value, "\x00")
		vars = append(vars, bootstrap.Variable{Name: names[i], Value: secret.New([]byte(value))})
	}
	return vars, refused
}

// wantedEnvironment is what is inherited, by the words of the manual.
func wantedEnvironment(tg *target, dir string, pristine bool) map[string]string {
	want := map[string]string{}
	for _, entry := range tg.environ {
		name, value, ok := strings.Cut(entry, "=")
		ours := slices.Contains([]string{
			"LOGIN", "NOTIFY_SOCKET", "VAULT_TOKEN", "VAULT_TOKEN_FILE", "VAULT_ROLE_ID", "VAULT_ROLE_ID_FILE", "VAULT_SECRET_ID", "VAULT_SECRET_ID_FILE",
		}, name)
		if ok && !ours && !strings.HasPrefix(name, "SECRETBOOT_") && !pristine {
			want[name] = value
		}
	}
	for _, deny := range tg.run.EnvDeny.Or(nil) {
		maps.DeleteFunc(want, func(name, _ string) bool { return matchesGlob(deny, name) })
	}
	if dir != "" {
		want["SECRETBOOT_DIR"] = dir
	}
	return want
}

// matchesGlob knows literals and one star at the end, which is what this test denies with;
// whatever else matches by path.Match, too.
func matchesGlob(glob, name string) bool {
	prefix, star := strings.CutSuffix(glob, "*")
	if !strings.ContainsAny(prefix, `*?[\`) {
		return name == prefix || star && strings.HasPrefix(name, prefix) && !strings.Contains(name[len(prefix):], "/")
	}
	tg := &target{}
	tg.run.EnvDeny = plan.Set([]string{glob}, plan.Origin{})
	return !tg.inherits(name)
}
