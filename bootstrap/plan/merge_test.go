package plan

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSettingsIsComplete fails when a Setting is added to Plan and not to the
// list that merging and printing go through.
func TestSettingsIsComplete(t *testing.T) {
	var p Plan
	listed := map[any]string{}
	for _, s := range p.settings() {
		if other, twice := listed[s.setting]; twice {
			t.Errorf("%s and %s are the same field", s.name, other)
		}
		listed[s.setting] = s.name
	}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.Kind() != reflect.Struct {
			return
		}
		if s, ok := v.Addr().Interface().(setting); ok {
			if listed[s] == "" {
				t.Errorf("%s is not in settings()", path)
			}
			delete(listed, s)
			return
		}
		for i := range v.NumField() {
			walk(path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	}
	walk("Plan", reflect.ValueOf(&p).Elem())
	for _, name := range listed {
		t.Errorf("%s is no field of Plan", name)
	}
}

// TestListsAreComplete fails when a list or map is added to Plan, so that
// whoever adds it thinks of Overlay, Merge and View.
func TestListsAreComplete(t *testing.T) {
	var got []string
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch {
		case reflect.PointerTo(typ).Implements(reflect.TypeFor[setting]()):
		case typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map:
			got = append(got, strings.TrimPrefix(path, "."))
		case typ.Kind() == reflect.Struct:
			for f := range typ.Fields() {
				walk(path+"."+f.Name, f.Type)
			}
		}
	}
	walk("", reflect.TypeFor[Plan]())
	slices.Sort(got)
	want := []string{
		"Computed", "Env", "EnvSets", "Files", "Ignored", "Login.Ambient", "Login.Inputs", "Login.Params", "Reads", "Run.Command", "Sets",
		"Vault.Headers", "Vault.KV",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, merge.go and view.go know %q", got, want)
	}
}

func at(s string) Origin { return Origin{Front: "test", At: s} }

func samplePair() (low, high Plan) {
	low.Vault.Address = Set("https://low", at("low"))
	low.Vault.Namespace = Set("low", at("low"))
	low.Vault.TLS.CACertPEM = Set("low", at("low"))
	low.Vault.KV = map[string]KVRule{"a": KV1, "b": KV1}
	low.Login.Inputs = map[string]Handle{"token": {Kind: HandleEnv, Name: "LOW"}, "jwt": {Kind: HandleFile, Name: "low"}}
	low.Login.Ambient = map[string]Handle{AmbientTokenHelper: {Kind: HandleFile, Name: "low"}}
	low.Vault.Headers = map[string]Handle{"A": {Kind: HandleEnv, Name: "LOW"}, "B": {Kind: HandleEnv, Name: "LOW"}}
	low.Vault.HeaderSet = Handle{Kind: HandleEnv, Name: "LOW"}
	low.Vault.Redirects = Set([]string{"low"}, at("low"))
	low.Files = []File{{Path: "low"}}
	low.Run.Command = []string{"low"}
	high.Vault.Address = Set("https://high", at("high"))
	high.Vault.TLS.CACert = Set("high", at("high"))
	high.Vault.KV = map[string]KVRule{"b": KV2}
	high.Login.Inputs = map[string]Handle{"token": {Kind: HandleEnv, Name: "HIGH"}}
	high.Login.Params = map[string]Setting[string]{"audience": Set("high", at("high"))}
	high.Login.Ambient = map[string]Handle{AmbientGitLabIDToken: {Kind: HandleEnv, Name: "HIGH"}}
	high.Login.Namespace = Set("high", at("high"))
	high.Vault.Headers = map[string]Handle{"B": {Kind: HandleEnv, Name: "HIGH"}}
	high.Vault.RateLimit = Set(Rate{1, 1}, at("high"))
	high.Files = []File{{Path: "high"}}
	high.Run.KillTimeout = Set(time.Duration(0), at("high"))
	return low, high
}

func TestOverlay(t *testing.T) {
	low, high := samplePair()
	before, _ := samplePair()
	p := Overlay(low, high)
	if p.Vault.Address.Value != "https://high" || p.Vault.Address.Origin.At != "high" || p.Vault.Namespace.Value != "low" {
		t.Errorf("settings: %+v", p.Vault)
	}
	if p.Vault.TLS.CACertPEM.IsSet || p.Vault.TLS.CACert.Value != "high" {
		t.Errorf("a lower rank's bundle must not stay beside a higher rank's file: %+v", p.Vault.TLS)
	}
	if !reflect.DeepEqual(p.Vault.KV, map[string]KVRule{"a": KV1, "b": KV2}) {
		t.Errorf("kv: %v", p.Vault.KV)
	}
	if p.Login.Inputs["token"].Name != "HIGH" || p.Login.Inputs["jwt"].Name != "low" || p.Login.Params["audience"].Value != "high" {
		t.Errorf("login: %+v", p.Login)
	}
	if len(p.Login.Ambient) != 2 || p.Login.Namespace.Value != "high" {
		t.Errorf("login: %+v", p.Login)
	}
	if p.Vault.Headers["A"].Name != "LOW" || p.Vault.Headers["B"].Name != "HIGH" || p.Vault.HeaderSet.Name != "LOW" {
		t.Errorf("headers: %+v, %+v", p.Vault.Headers, p.Vault.HeaderSet)
	}
	if len(p.Files) != 2 || p.Files[0].Path != "low" || p.Files[1].Path != "high" {
		t.Errorf("files: %+v", p.Files)
	}
	if !slices.Equal(p.Run.Command, []string{"low"}) || !p.Run.KillTimeout.IsSet {
		t.Errorf("run: %+v", p.Run)
	}
	p.Files[0].Path, p.Vault.KV["a"], p.Run.Command[0] = "changed", KVLiteral, "changed"
	p.Vault.Redirects.Value[0], p.Vault.Headers["A"], p.Login.Ambient[AmbientTokenHelper] = "changed", Handle{}, Handle{}
	if !reflect.DeepEqual(low, before) {
		t.Error("the result shares memory with its argument")
	}
}

func TestOverlayIdentity(t *testing.T) {
	low, high := samplePair()
	for _, p := range []Plan{low, high, {}} {
		if got := Overlay(Plan{}, p); !reflect.DeepEqual(got, p) {
			t.Errorf("over nothing: %+v", got)
		}
		if got := Overlay(p, Plan{}); !reflect.DeepEqual(got, p) {
			t.Errorf("under nothing: %+v", got)
		}
	}
}

func TestMerge(t *testing.T) {
	var a, b, c Plan
	a.Vault.Address = Set("CANARY-a", at("one"))
	a.Vault.TLS.CACert = Set("x", at("one"))
	a.Login.Inputs = map[string]Handle{"token": {Kind: HandleEnv, Name: "A", Origin: at("one")}}
	a.Vault.Headers = map[string]Handle{"X": {Kind: HandleEnv, Name: "A", Origin: at("one")}, "Y": {Kind: HandleFile, Name: "y"}}
	a.Vault.HeaderSet = Handle{Kind: HandleEnv, Name: "A", Origin: at("one")}
	a.Files = []File{{Path: "a"}}
	b.Vault.HeaderSet = Handle{Kind: HandleEnv, Name: "A", Origin: at("two")}
	b.Vault.Headers = map[string]Handle{"Y": {Kind: HandleFile, Name: "y"}}
	b.Vault.Address = Set("CANARY-a", at("two")) // the same again
	b.Vault.TLS.CAPath = Set("y", at("two"))
	b.Login.Params = map[string]Setting[string]{"audience": Set("p", at("two"))}
	b.Files = []File{{Path: "b"}}
	p, err := Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if p.Vault.Address.Origin.At != "one" || !p.Vault.TLS.CACert.IsSet || !p.Vault.TLS.CAPath.IsSet {
		t.Errorf("%+v", p.Vault)
	}
	if p.Vault.HeaderSet.Origin.At != "one" || len(p.Vault.Headers) != 2 {
		t.Errorf("%+v, %+v", p.Vault.HeaderSet, p.Vault.Headers)
	}
	if len(p.Files) != 2 || p.Files[0].Path != "a" || len(p.Login.Inputs) != 1 || len(p.Login.Params) != 1 {
		t.Errorf("%+v", p)
	}

	c.Vault.Address = Set("CANARY-c", at("three"))
	c.Vault.KV = map[string]KVRule{"secret": KV1}
	c.Login.Inputs = map[string]Handle{"token": {Kind: HandleEnv, Name: "C", Origin: at("three")}}
	c.Login.Params = map[string]Setting[string]{"audience": Set("q", at("three"))}
	c.Vault.Headers = map[string]Handle{"X": {Kind: HandleFile, Name: "A", Origin: at("three")}}
	c.Vault.HeaderSet = Handle{Kind: HandleFile, Name: "A", Origin: at("three")}
	c.Vault.Redirects, b.Vault.Redirects = Set([]string{"a"}, at("three")), Set([]string{"a", "b"}, at("two"))
	c.Refresh.OnChange = Set(Action{Kind: ActionExec, Argv: []string{"x", "1"}}, at("three"))
	c.Run.Command, c.Run.CommandOrigin, c.Vault.KVOrigin = []string{"c"}, at("three"), at("three")
	d := Plan{Refresh: Refresh{OnChange: Set(Action{Kind: ActionExec, Argv: []string{"x", "2"}}, at("four"))}}
	d.Vault.KV, d.Run.Command = map[string]KVRule{"secret": KV2}, []string{"d"}
	d.Run.CommandOrigin, d.Vault.KVOrigin = at("four"), at("four")
	_, err = Merge(a, b, c, d)
	want := `setting "vault.address": declared with another value at one (declared at three); keep one of the two
setting "vault.redirects": declared with another value at two (declared at three); keep one of the two
setting "vault.auth.audience": declared with another value at two (declared at three); keep one of the two
setting "vault.auth.token": declared with another value at one (declared at three); keep one of the two
setting "vault.headers.X": declared with another value at one (declared at three); keep one of the two
setting "vault.headers": declared with another value at one (declared at three); keep one of the two
setting "refresh.on_change": declared with another value at three (declared at four); keep one of the two
setting "vault.kv.secret": declared with another value at three (declared at four); keep one of the two
setting "run.command": declared with another value at three (declared at four); keep one of the two`
	if err == nil || err.Error() != want || CodeOf(err) != CodeConfig {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestMergeOfNothing(t *testing.T) {
	if p, err := Merge(); err != nil || !reflect.DeepEqual(p, Plan{}) {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestMergeHides: what one declaration keeps from the command stays kept from it.
func TestMergeHides(t *testing.T) {
	var a, b, c Plan
	a.Run.EnvDeny = Set([]string{"A", "B"}, Origin{At: "a"})
	b.Run.EnvDeny = Set([]string{"B", "C"}, Origin{At: "b"})
	got, err := Merge(c, a, c, b)
	if err != nil || !slices.Equal(got.Run.EnvDeny.Value, []string{"A", "B", "C"}) || got.Run.EnvDeny.Origin.At != "a" {
		t.Errorf("%+v, %v", got.Run.EnvDeny, err)
	}
	if !slices.Equal(a.Run.EnvDeny.Value, []string{"A", "B"}) {
		t.Error("an argument was changed")
	}
}

// TestYield: what high says is in no conflict, and nothing else is lost.
func TestYield(t *testing.T) {
	var a, b, high Plan
	a.Vault.Address, b.Vault.Address = Set("a", at("one")), Set("b", at("two"))
	a.Timeout = Set(time.Second, at("one"))
	a.Login.Params = map[string]Setting[string]{"audience": Set("a", at("one"))}
	b.Login.Params = map[string]Setting[string]{"audience": Set("b", at("two")), "type": Set("iam", at("two"))}
	a.Login.Inputs = map[string]Handle{"token": {Kind: HandleEnv, Name: "A"}, "jwt": {Kind: HandleFile, Name: "/jwt"}}
	b.Login.Inputs = map[string]Handle{"token": {Kind: HandleEnv, Name: "B"}}
	a.Run.EnvDeny, high.Run.EnvDeny = Set([]string{"A"}, at("one")), Set([]string{"H"}, at("high"))
	high.Vault.Address = Set("high", at("high"))
	high.Login.Params = map[string]Setting[string]{"audience": Set("h", at("high"))}
	high.Login.Inputs = map[string]Handle{"token": {Kind: HandleEnv, Name: "H"}}

	if _, err := Merge(a, b); err == nil {
		t.Fatal("they differ")
	}
	both, err := Merge(Yield(a, high), Yield(b, high))
	if err != nil {
		t.Fatal(err)
	}
	got := Overlay(both, high)
	if got.Vault.Address.Value != "high" || got.Timeout.Value != time.Second || got.Login.Params["audience"].Value != "h" || got.Login.Params["type"].Value != "iam" {
		t.Errorf("%+v", got)
	}
	if len(got.Login.Inputs) != 2 || got.Login.Inputs["token"].Name != "H" || !slices.Equal(got.Run.EnvDeny.Value, []string{"H", "A"}) {
		t.Errorf("%+v, %q", got.Login.Inputs, got.Run.EnvDeny.Value)
	}
	if a.Login.Inputs["token"].Name != "A" || !a.Vault.Address.IsSet {
		t.Errorf("it was changed: %+v", a)
	}
}
