package declare_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/yaml"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestPatchGolden runs testdata/patch/*.txtar: a manifest, and its ConfigMap and
// patch with the notes, or the problems, which -update writes.
func TestPatchGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/patch/*.txtar")
	if err != nil || len(paths) < 16 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { patchCase(t, path) })
	}
}

func patchCase(t *testing.T, path string) {
	ar := parseArchive(t, path)
	i := slices.IndexFunc(ar.files, func(f archived) bool { return strings.HasSuffix(f.name, ".golden") })
	var want []archived
	if i >= 0 {
		ar.files, want = ar.files[:i], ar.files[i:]
	}
	_, at, _ := strings.Cut(strings.TrimSpace(ar.comment), "from manifest:")
	got, failed := patchFiles(t, declare.Manifest{Path: at, Origin: plan.Origin{At: "--from"}}, ar.files[0].data)
	if bad := strings.HasPrefix(filepath.Base(path), "bad-"); bad != failed {
		t.Errorf("the case's name and its outcome differ: %v", got)
	}
	if strings.Contains(fmt.Sprint(got), "CANARY") {
		t.Error("a value is shown")
	}
	if *update {
		ar.files = append(ar.files, got...)
		ar.write(t, path)
		return
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if !failed {
		patchesApply(t, ar.files[0].data, got)
	}
}

// patchFiles makes all that is written of a manifest.
func patchFiles(t *testing.T, m declare.Manifest, manifest string) (files []archived, failed bool) {
	in := declare.Input{Cwd: "/", Open: open(fstest.MapFS{"m.yaml": {Data: []byte(manifest)}})}
	var config, patch, notes strings.Builder
	n, err := m.Patch(&patch, in, "secretboot:1")
	if err != nil {
		checkFrontProblems(t, err)
		return []archived{{"problems.golden", patch.String() + err.Error() + "\n"}}, true
	}
	for _, line := range n.ByHand {
		fmt.Fprintf(&notes, "by hand: %s\n", line)
	}
	for _, i := range n.Ignored {
		fmt.Fprintf(&notes, "left: %s: %s (%s)\n", i.What, i.Why, i.Origin)
	}
	if err := m.ConfigMap(&config, in); err != nil {
		checkFrontProblems(t, err)
		config.Reset()
		config.WriteString("# " + err.Error() + "\n")
	}
	return []archived{{"configmap.golden", config.String()}, {"patch.golden", patch.String()}, {"notes.golden", notes.String()}}, false
}

// patchesApply holds a patch to kubectl and kustomize, which must make the same pod
// of it, with our containers first and nothing of the patch's own words in it.
func patchesApply(t *testing.T, manifest string, files []archived) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Log("NOT HELD TO KUBECTL: it is not here")
		return
	}
	dir := t.TempDir()
	workload, _, _ := strings.Cut(manifest, "\n---\n")
	resources := "resources: [workload.yaml]\n"
	if !strings.HasPrefix(files[0].data, "#") {
		resources = "resources: [workload.yaml, configmap.yaml]\n"
	}
	for name, text := range map[string]string{
		"workload.yaml": workload, "configmap.yaml": files[0].data, "patch.yaml": files[1].data,
		"kustomization.yaml": resources + "patches: [{ path: patch.yaml }]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	patched := workloadIn(t, dir, kubectl, "patch", "--local", "-f", "workload.yaml", "--patch-file", "patch.yaml", "-o", "yaml")
	built := workloadIn(t, dir, kubectl, "kustomize", ".")
	if !reflect.DeepEqual(patched, built) {
		t.Errorf("kubectl patch makes %v\nkustomize makes %v", patched, built)
	}
	text := fmt.Sprint(patched)
	if !strings.Contains(text, "initContainers:[map[args:") || strings.Contains(text, "$patch") || strings.Contains(text, "$set") {
		t.Errorf("ours is not first, or a word of the patch is left: %v", text)
	}
}

// workloadIn runs a command and gives the object with a pod that it prints.
func workloadIn(t *testing.T, dir string, argv ...string) map[string]any {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv[1:], err, out)
	}
	for doc := range strings.SplitSeq(string(out), "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatalf("%v: %v\n%s", argv[1:], err, doc)
		}
		if o["kind"] != "ConfigMap" {
			return o
		}
	}
	t.Fatalf("%v: no workload\n%s", argv[1:], out)
	return nil
}
