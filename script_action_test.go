package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// ourAction is what a workflow writes to use the action in this repository.
const ourAction = "secretboot/secretboot@"

// githubStep is what is played of a step of a workflow, or of an action.
type githubStep struct {
	If, Run, Uses, Shell string
	With, Env            map[string]string
}

// github plays a workflow. Steps that use another's action are taken as done.
func (p *play) github(dir string, text []byte) {
	ts := p.ts
	var w struct {
		Env  map[string]string
		Jobs map[string]struct{ Steps []githubStep }
	}
	ts.Check(yaml.Unmarshal(text, &w))
	p.env["CI"], p.env[runnerMark] = "true", "github_"+p.mark()
	for name, value := range w.Env {
		p.env[name] = value
	}
	for _, job := range w.Jobs {
		for _, step := range job.Steps {
			if (p.code != 0 || p.came.Load()) && step.If != "always()" {
				continue
			}
			switch {
			case strings.HasPrefix(step.Uses, ourAction):
				p.action(filepath.Join(dir, "..", "..", "action.yml"), step.With)
			case step.Uses == "":
				p.step(step.Run, step.Env, "bash", "-e")
			}
		}
	}
}

// action plays a composite action with its inputs. An input that it does not declare
// is a mistake, for the runner a warning.
func (p *play) action(path string, with map[string]string) {
	ts := p.ts
	text, err := os.ReadFile(path)
	ts.Check(err)
	var a struct {
		Inputs map[string]struct {
			Default  string
			Required bool
		}
		Runs struct {
			Using string
			Steps []githubStep
		}
	}
	ts.Check(yaml.UnmarshalStrict(text, &struct {
		Name, Description string
		Inputs            map[string]any
		Runs              any
	}{}))
	ts.Check(yaml.Unmarshal(text, &a))
	inputs := map[string]string{}
	for name, in := range a.Inputs {
		inputs[name] = in.Default
		if value, given := with[name]; given {
			inputs[name] = value
		} else if in.Required {
			ts.Fatalf("the input %s is missing", name)
		}
	}
	for name := range with {
		if _, ok := a.Inputs[name]; !ok {
			ts.Fatalf("%s has no input %s", path, name)
		}
	}
	if a.Runs.Using != "composite" {
		ts.Fatalf("%s is no composite action", path)
	}
	for _, step := range a.Runs.Steps {
		if step.Shell != "bash" || strings.Contains(step.Run, "${{") {
			ts.Fatalf("a step of %s has no shell, or an expression in its text", path)
		}
		env := map[string]string{}
		for name, value := range step.Env {
			env[name] = p.expression(value, inputs)
		}
		p.step(step.Run, env, "bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
	}
}

// expression evaluates what the action has of GitHub's expressions: inputs.NAME, and
// `|| env.NAME` for when that is empty.
func (p *play) expression(text string, inputs map[string]string) string {
	m := regexp.MustCompile(`^\$\{\{ inputs\.(\w+)(?: \|\| env\.(\w+))? \}\}$`).FindStringSubmatch(text)
	switch {
	case m == nil && strings.Contains(text, "${{"):
		p.ts.Fatalf("this runner cannot evaluate %s", text)
	case m == nil:
		return text
	case inputs[m[1]] != "":
		return inputs[m[1]]
	}
	return p.env[m[2]]
}
