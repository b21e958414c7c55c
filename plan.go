package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/vault"
)

// codeDiffer is the exit code of `plan --diff` for plans that differ, as diff(1)
// has it.
const codeDiffer = 1

// shown says how `plan` shows the plan.
type shown struct {
	output string
	policy bool
	diff   string // a file with an earlier plan
}

func (a *app) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan [flags] [-- COMMAND [ARG…]]",
		Short: "what would be read and written, without reading a secret",
		Example: "  secretboot plan -c secretboot.yaml -o inventory\n" +
			"  secretboot plan -c secretboot.yaml --policy | vault policy write app -",

		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SetInterspersed(false)
	a.addFlags(cmd)
	var s shown
	cmd.Flags().StringVarP(&s.output, "output", "o", "text", "text, json, yaml or inventory")
	cmd.Flags().BoolVar(&s.policy, "policy", false, "print the smallest Vault policy that lets the plan run")
	cmd.Flags().StringVar(&s.diff, "diff", "", "compare with a FILE that plan -o json wrote; the code is 1 where they differ")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.plan(cmd, s, args) }
	return cmd
}

// plan prints what would be done, once everything that needs no network and no
// secret was checked.
func (a *app) plan(cmd *cobra.Command, s shown, args []string) error {
	if err := s.check(cmd); err != nil {
		return err
	}
	p, err := a.declared(cmd)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		p.Run.Command = args
	}
	var ps plan.Problems
	ps.Add(p.Check())
	ps.Add(a.notHere(vault.CheckServer(p.Vault)))
	choice, err := vault.Choose(p.Vault, p.Login)
	ps.Add(err)
	if choice.Method != "" && p.Login.Method.Or("auto") == "auto" && !p.Vault.Dev.IsSet {
		p.Login.Method = plan.Set(choice.Method, plan.Origin{Front: "login", At: choice.Why})
	}
	p.Reads, p.Computed, err = bootstrap.Reads(p)
	ps.Add(err)
	ps.Add(bootstrap.CheckCommands(p.Files, a.hooks(p)))
	if err := ps.Err(); err != nil {
		return err
	}
	switch {
	case s.policy:
		return written(plan.Policy(a.stdout, p))
	case s.diff != "":
		return a.diff(s.diff, p)
	}
	return a.show(s.output, p)
}

// check refuses what cannot be had at once.
func (s shown) check(cmd *cobra.Command) error {
	var asked []string
	for _, name := range []string{"output", "policy", "diff"} {
		if cmd.Flags().Changed(name) {
			asked = append(asked, "--"+name)
		}
	}
	switch {
	case len(asked) > 1:
		return &plan.Problem{Code: plan.CodeUsage, What: strings.Join(asked, " and "), Why: "each prints something else", Fix: "give one of them"}
	case s.diff == "" && cmd.Flags().Changed("diff"):
		return &plan.Problem{Code: plan.CodeUsage, What: "--diff", Why: "the value is empty", Fix: "name a file that plan -o json wrote"}
	}
	switch s.output {
	case "text", "json", "yaml", "inventory":
		return nil
	}
	return &plan.Problem{Code: plan.CodeUsage, What: "--output", Why: "must be text, json, yaml or inventory"}
}

func (a *app) show(output string, p plan.Plan) error {
	switch output {
	case "json":
		return written(plan.JSON(a.stdout, p))
	case "yaml":
		return a.showYAML(p)
	case "inventory":
		var table bytes.Buffer
		if err := plan.Inventory(&table, p, bootstrap.Reads); err != nil {
			return err
		}
		_, err := table.WriteTo(a.stdout)
		return written(err)
	}
	return written(plan.Text(a.stdout, p))
}

// showYAML prints the same as JSON, with the fields sorted.
func (a *app) showYAML(p plan.Plan) error {
	var text bytes.Buffer
	if err := plan.JSON(&text, p); err != nil {
		return err
	}
	out, err := yaml.JSONToYAML(text.Bytes())
	if err != nil {
		return &plan.Problem{Code: plan.CodeBug, What: "--output yaml", Why: "the plan cannot be written in YAML", Err: err}
	}
	_, err = a.stdout.Write(out)
	return written(err)
}

// diff prints how the plan differs from an earlier one.
func (a *app) diff(path string, p plan.Plan) error {
	old, err := readView(path)
	if err != nil {
		return err
	}
	differ, err := plan.Diff(a.stdout, old, plan.NewView(p))
	if differ {
		a.childCode = codeDiffer
	}
	return written(err)
}

// readView reads what `plan -o json` wrote. A field that is not known comes from
// a later version, and something would be left out of the comparison.
func readView(path string) (plan.View, error) {
	problem := func(why string, err error) error {
		return &plan.Problem{Code: plan.CodeConfig, Origin: plan.Origin{Front: "flag", At: "--diff"}, What: "the plan " + path, Why: why, Err: err}
	}
	f, err := openInput(path)
	if err != nil {
		return plan.View{}, problem(plan.PathCause(err), err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, declare.MaxFile+1))
	switch {
	case err != nil:
		return plan.View{}, problem("it cannot be read", err)
	case len(text) > declare.MaxFile:
		return plan.View{}, problem("it is too large", nil)
	}
	var v plan.View
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil || dec.More() {
		return plan.View{}, problem("it is not what this version's plan -o json writes", err)
	}
	return v, nil
}

// notHere warns of files that a declaration names and that are missing, and gives
// back all else that is wrong: a plan is read on other machines than it is for.
func (a *app) notHere(err error) error {
	if err == nil {
		return nil
	}
	var ps plan.Problems
	for _, p := range problems(err) {
		ofThisMachine := p.Origin.Front == "environment" || p.Origin.Front == "flag"
		if ofThisMachine || !errors.Is(p, fs.ErrNotExist) {
			ps = append(ps, p)
			continue
		}
		a.logger().Warn("not on this machine", slog.String("problem", p.Error()))
	}
	return ps.Err()
}
