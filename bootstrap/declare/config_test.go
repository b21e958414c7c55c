package declare_test

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

const configPath = "/etc/app/secretboot.yaml"

// open serves absolute paths from files, whose names have no leading slash.
func open(files fs.FS) func(string) (io.ReadCloser, error) {
	return func(path string) (io.ReadCloser, error) {
		return files.Open(strings.TrimPrefix(path, "/"))
	}
}

func lookup(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

// dump prints every field of a plan that is not zero, one a line.
func dump(p plan.Plan) string {
	var b strings.Builder
	dumpValue(&b, "", reflect.ValueOf(p))
	return b.String()
}

func dumpValue(b *strings.Builder, name string, v reflect.Value) {
	if v.IsZero() || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if f := v.FieldByName("IsSet"); f.IsValid() {
			fmt.Fprintf(b, "%s = %#v @ %s\n", name, v.FieldByName("Value").Interface(), v.FieldByName("Origin").Interface())
			return
		}
		if o, ok := v.Interface().(plan.Origin); ok {
			fmt.Fprintf(b, "%s = %s\n", name, o)
			return
		}
		for i := range v.NumField() {
			dumpValue(b, strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."), v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			dumpValue(b, fmt.Sprintf("%s[%d]", name, i), v.Index(i))
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			dumpValue(b, name+"["+key.String()+"]", v.MapIndex(key))
		}
	case reflect.Pointer:
		dumpValue(b, name, v.Elem())
	case reflect.Uint32:
		fmt.Fprintf(b, "%s = %#o\n", name, v.Uint())
	default:
		fmt.Fprintf(b, "%s = %#v\n", name, v.Interface())
	}
}

func TestConfigGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/config/*.txtar")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { configCase(t, path) })
	}
}

func configCase(t *testing.T, path string) {
	ar := parseArchive(t, path)
	files, golden := fstest.MapFS{}, ""
	ar.files = slices.DeleteFunc(ar.files, func(f archived) bool {
		if strings.HasSuffix(f.name, ".golden") {
			golden = f.name + "\n" + f.data
			return true
		}
		files[f.name] = &fstest.MapFile{Data: []byte(f.data)}
		return false
	})
	p, found, err := declare.Config{Path: configPath}.Declare(declare.Input{Open: open(files), Cwd: "/work"})
	if !found {
		t.Error("the file was not found")
	}
	name, got := "plan.golden", dump(p)
	if err != nil {
		name, got = "problems.golden", err.Error()+"\n"
		checkProblems(t, err)
	}
	if bad := strings.HasPrefix(filepath.Base(path), "bad-"); bad != (err != nil) {
		t.Errorf("the case's name and its outcome differ: %v", err)
	}
	for _, f := range ar.files {
		if strings.Contains(f.data, "CANARY") && strings.Contains(got, "CANARY") {
			t.Errorf("a value of the file is shown:\n%s", got)
		}
	}
	if *update {
		ar.files = append(ar.files, archived{name, got})
		ar.write(t, path)
		return
	}
	if golden != name+"\n"+got {
		t.Errorf("got %s:\n%s\nwant %s", name, got, golden)
	}
}

// checkProblems asserts what holds for every problem of a configuration file.
func checkProblems(t *testing.T, err error) {
	t.Helper()
	problems, ok := err.(plan.Problems) //nolint:errorlint // the documented type, not wrapped
	if !ok || len(problems) == 0 {
		t.Fatalf("%T is not a list of problems", err)
	}
	position := regexp.MustCompile(`^` + regexp.QuoteMeta(configPath) + `:[1-9]\d*:[1-9]\d*$`)
	for _, p := range problems {
		if p.Code != plan.CodeConfig || !position.MatchString(p.Origin.At) || p.What == "" || p.Why == "" {
			t.Errorf("problem without code, place or reason: %#v", p)
		}
		if strings.Contains(p.Error(), "\n") {
			t.Errorf("more than one line: %q", p.Error())
		}
	}
}
