package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the golden parts of the scripts")

// TestMain lets a script run this binary as secretboot, and as the small
// programs that stand for targets, so that no shell is needed.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"secretboot": main,
		"child":      childMain,
		"forkless":   forklessMain,
	})
}

// TestScripts runs testscripts/*.txtar: the behaviour of the binary against a
// real Vault, a real tmpfs and real processes, one promise in each file.
func TestScripts(t *testing.T) { runScripts(t, "testscripts") }

// runScripts runs the scripts of a folder beside one shared Vault server.
func runScripts(t *testing.T, dir string) {
	t.Helper()
	vault, err := filepath.Abs("bin/vault")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(vault); err != nil {
		t.Fatalf("%v; run `make vault` first", err)
	}
	servers := &vaults{binary: vault}
	t.Cleanup(func() { servers.stop(t) })
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               servers.setup,
		Cmds:                scriptCommands(servers),
		Condition:           condition,
	})
}
