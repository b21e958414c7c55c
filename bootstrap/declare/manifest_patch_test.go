package declare_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestPatchGolden runs testdata/patch/*.txtar: a manifest, and the patch or the
// problems, which -update writes.
func TestPatchGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/patch/*.txtar")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { patchCase(t, path) })
	}
}

func patchCase(t *testing.T, path string) {
	ar := parseArchive(t, path)
	i := slices.IndexFunc(ar.files, func(f archived) bool { return strings.HasSuffix(f.name, ".golden") })
	golden := ""
	if i >= 0 {
		golden = ar.files[i].name + "\n" + ar.files[i].data
		ar.files = ar.files[:i]
	}
	in := declare.Input{Cwd: "/", Open: open(fstest.MapFS{"m.yaml": {Data: []byte(ar.files[0].data)}})}
	var out strings.Builder
	err := declare.Manifest{Path: "/m.yaml", Origin: plan.Origin{At: "--from"}}.Patch(&out, in, "secretboot:1")
	name, got := "patch.golden", out.String()
	if err != nil {
		name, got = "problems.golden", out.String()+err.Error()+"\n"
		checkFrontProblems(t, err)
	}
	if bad := strings.HasPrefix(filepath.Base(path), "bad-"); bad != (err != nil) {
		t.Errorf("the case's name and its outcome differ: %v", err)
	}
	if strings.Contains(got, "CANARY") {
		t.Error("a value is shown")
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
