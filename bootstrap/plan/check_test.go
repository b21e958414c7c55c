package plan

import (
	"io/fs"
	"testing"
)

func TestCheck(t *testing.T) {
	ref := func() Source { return Source{Ref: &Ref{Read: Read{Path: "s/a"}, Field: "b"}} }
	file := func(path, where string) File { return File{Path: path, Source: ref(), Origin: at(where)} }
	set := func(dir, where string) FileSet { return FileSet{Dir: dir, Ref: *ref().Ref, Origin: at(where)} }
	env := func(name, where string) Env { return Env{Name: name, Source: ref(), Origin: at(where)} }
	for _, tt := range []struct {
		name string
		plan Plan
		want string
	}{
		{"nothing", Plan{}, ""},
		{"good", Plan{
			Files: []File{file("a", "1"), file("b/c", "2"), file("b/d", "3"), file("/other/a", "4"), file("..data2", "5")},
			Sets:  []FileSet{set("", "6"), set("b", "7"), set("b", "8")},
			Env:   []Env{env("A", "9"), env("a", "10")},
		}, ""},
		{
			"same path",
			Plan{Files: []File{file("a", "1"), file("./a", "2"), file("x//y", "3"), file("x/y", "4")}},
			`file "./a": the same path is declared at 1 (declared at 2); give one of them another path
file "x/y": the same path is declared at 3 (declared at 4); give one of them another path`,
		},
		{
			"absolute and relative",
			Plan{Sink: Sink{Dir: Set("/run/s", Origin{})}, Files: []File{file("a", "1"), file("/run/s/a", "2")}},
			`file "/run/s/a": the same path is declared at 1 (declared at 2); give one of them another path`,
		},
		{
			"parent",
			Plan{Files: []File{file("a", "1"), file("a/b/c", "2")}},
			`file "a/b/c": its folder is itself a file, "a", declared at 1 (declared at 2); give one of them another path`,
		},
		{
			"parent after child",
			Plan{Files: []File{file("a/b", "1"), file("a", "2")}},
			`file "a/b": its folder is itself a file, "a", declared at 2 (declared at 1); give one of them another path`,
		},
		{
			"set in a file",
			Plan{Files: []File{file("a", "1")}, Sets: []FileSet{set("a", "2"), set("a/b", "3")}},
			`folder "a": the same path is declared at 1 (declared at 2); give one of them another path
folder "a/b": its folder is itself a file, "a", declared at 1 (declared at 3); give one of them another path`,
		},
		{"bad paths", Plan{
			Files: []File{file("", "1"), file(".", "2"), file("a/", "3"), file("../a", "4"), file("a/../b", "5"), file("a\x00", "6"), file("/", "7"), file("a/..", "8")},
			Sets:  []FileSet{set("..", "9")},
		}, `file "": the path is empty (declared at 1)
file ".": the path names a folder (declared at 2)
file "a/": the path names a folder (declared at 3)
file "../a": the path has a .. element and could leave the sink (declared at 4)
file "a/../b": the path has a .. element and could leave the sink (declared at 5)
file "a\x00": the path has a control character (declared at 6)
file "/": the path names a folder (declared at 7)
file "a/..": the path names a folder (declared at 8)
folder "..": the path has a .. element and could leave the sink (declared at 9)`},
		{"modes", Plan{Files: []File{
			{Path: "a", Source: ref(), Mode: 0o777, Origin: at("1")},
			{Path: "b", Source: ref(), Mode: 0o1000, Origin: at("2")},
			{Path: "c", Source: ref(), Mode: fs.ModeSetuid | 0o400, Origin: at("3")},
		}}, `file "b": the mode has more than permission bits (declared at 2); use a mode from 0001 to 0777
file "c": the mode has more than permission bits (declared at 3); use a mode from 0001 to 0777`},
		{"sources", Plan{
			Files: []File{
				{Path: "a", Origin: at("1")},
				{Path: "b", Source: Source{Template: &Template{}, Ref: &Ref{}}, Origin: at("2")},
				{Path: "c", Source: Source{Ref: &Ref{}}, Origin: at("3")},
			},
			Sets:    []FileSet{{Dir: "d", Origin: at("4")}, {Dir: "e", Bundle: &Bundle{Parts: []Part{{Find: &Find{List: "x"}}}}, Origin: at("5")}},
			Env:     []Env{{Name: "A", Origin: at("6")}, {Name: "B", Source: Source{Ref: &Ref{Read: Read{Path: "x", Version: -1}}}, Origin: at("7")}},
			EnvSets: []EnvSet{{Prefix: "P_", Origin: at("8")}},
		}, `file "a": it has neither a template nor a secret (declared at 1)
file "b": it has both a template and a secret (declared at 2); keep one of the two
file "c": the path of its secret is empty (declared at 3)
folder "d": the path of its secret is empty (declared at 4)
variable "A": it has neither a template nor a secret (declared at 6)
variable "B": the version of its secret is below 1 (declared at 7)
variables with prefix "P_": the path of its secret is empty (declared at 8)`},
		{
			"variables",
			Plan{Env: []Env{env("A", "1"), env("", "2"), env("B=C", "3"), env("D\x00", "4"), env("A", "5"), env("A", "6"), env("SECRETBOOT_DIR", "7")}},
			`a variable: its name is empty (declared at 2)
variable "B=C": a name cannot have =, NUL or white space in it (declared at 3)
variable "D\x00": a name cannot have =, NUL or white space in it (declared at 4)
variable "A": the same variable is declared at 1 (declared at 5); keep one of the two
variable "A": the same variable is declared at 1 (declared at 6); keep one of the two
variable "SECRETBOOT_DIR": the names that begin with SECRETBOOT_ are ours (declared at 7); give it another name`,
		},
		{
			"text of the declaration may be a dangerous variable, what holds a secret may not",
			Plan{Env: []Env{
				{Name: "PATH", Source: Source{Pieces: []Piece{{Text: &Handle{Kind: HandleFile, Name: "/a.hcl"}, To: 3}}}, Origin: at("1")},
				{Name: "LD_PRELOAD", Source: Source{Pieces: []Piece{{Text: &Handle{Kind: HandleText, Name: "a"}, To: 1}, {Ref: ref().Ref}}}, Origin: at("2")},
				env("HOME", "3"),
			}},
			`variable "LD_PRELOAD": ` + whyDangerous + ` (declared at 2); ` + fixDangerous + `
variable "HOME": ` + whyDangerous + ` (declared at 3); ` + fixDangerous,
		},
		{
			"keys of a bundle",
			Plan{EnvSets: []EnvSet{
				{Origin: at("1"), Bundle: bundle(false, "config.yaml", "PATH", "OK")},
				{Origin: at("2"), Bundle: bundle(true, "kept.part")},
				{Origin: at("3"), Bundle: bundle(false, "a.b", "C"), AnyName: true},
				{Origin: at("4"), Bundle: bundle(false, "a.b", "C"), Allow: []string{"C"}},
				{Origin: at("5"), Bundle: bundle(false, "a.b"), Take: map[string]string{"A": "a.b"}},
				{Origin: at("6"), Bundle: bundle(false, "1", "PATH"), Prefix: "P_"},
			}},
			`variable "config.yaml": the key makes no name of a variable (declared at 1); give the key another name, or deliver the keys as files (a bundle below files; --from externalsecret in place of externalsecret-env)
variable "PATH": ` + whyDangerous + ` (declared at 1); ` + fixDangerous + `
variable "a.part": the key makes no name of a variable (declared at part); give the key another name, or deliver the keys as files (a bundle below files; --from externalsecret in place of externalsecret-env)
variable "kept.part": the key makes no name of a variable (declared at 2); give the key another name, or deliver the keys as files (a bundle below files; --from externalsecret in place of externalsecret-env)`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.plan.Check()
			got := ""
			if err != nil {
				got = err.Error()
				if CodeOf(err) != CodeConfig {
					t.Errorf("code %d", CodeOf(err))
				}
			}
			if got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

// bundle has the part a.part, and a template for each key.
func bundle(keep bool, keys ...string) *Bundle {
	b := &Bundle{Keep: keep, Parts: []Part{{Key: "a.part", Ref: Ref{Read: Read{Path: "s/a"}}, Origin: at("part")}}}
	for _, key := range keys {
		b.Templates = append(b.Templates, KeyTemplate{Key: key, Template: Template{Text: "x"}})
	}
	return b
}

// TestDeclares: by name alone, in a set that names it, and for a memfd; a set of
// whatever a secret has names none.
func TestDeclares(t *testing.T) {
	p := Plan{
		Env:     []Env{{Name: "A"}},
		EnvSets: []EnvSet{{Take: map[string]string{"B": "b"}}, {Prefix: "P_"}},
		Files:   []File{{Path: "c", Memfd: true}, {Path: "d", MemfdEnv: "D"}},
	}
	for name, want := range map[string]bool{"A": true, "B": true, "b": false, "P_A": false, "SECRETBOOT_FD_C": true, "D": false, "": false} {
		if p.Declares(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
