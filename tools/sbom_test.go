package tools_test

import (
	"debug/buildinfo"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"testing"
)

// TestSBOM holds the list of components that make sbom writes to what the toolchain has
// written into the binary, module by module, with their checksums' versions.
func TestSBOM(t *testing.T) {
	if out, err := exec.Command("make", "-s", "-C", "..", "sbom").CombinedOutput(); err != nil {
		t.Fatalf("make sbom: %v\n%s", err, out)
	}
	text, err := os.ReadFile("../bin/secretboot.cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var sbom struct {
		BOMFormat  string
		Metadata   struct{ Component struct{ Name string } }
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(text, &sbom); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile("../bin/secretboot")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"std": info.GoVersion}
	for _, m := range info.Deps {
		want[m.Path] = m.Version
	}
	got := map[string]string{}
	for _, c := range sbom.Components {
		if got[c.Name] = c.Version; c.PURL == "" {
			t.Errorf("%s has no package URL", c.Name)
		}
	}
	if sbom.BOMFormat != "CycloneDX" || sbom.Metadata.Component.Name != info.Main.Path || !maps.Equal(got, want) {
		t.Errorf("%s of %s lists\n%v, and linked are\n%v", sbom.BOMFormat, sbom.Metadata.Component.Name, got, want)
	}
}
