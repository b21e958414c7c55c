package declare

import (
	"fmt"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// ParseFileFlag reads the value of --file, PATH=REF: one file in the sink with
// one field, or with a whole secret as JSON. from is the flag, or the variable
// that stands for it. The error is a *plan.Problem with CodeUsage.
func ParseFileFlag(arg string, from plan.Origin) (plan.File, error) {
	path, ref, err := cutReference(from, arg, "PATH=REF, such as api-key=secret/app#key")
	if err != nil {
		return plan.File{}, err
	}
	return plan.File{Path: path, Source: plan.Source{Ref: ref}, Origin: ref.Read.Origin}, nil
}

// ParseEnvFlag reads the value of --env, NAME=REF: one variable of the
// command. The error is a *plan.Problem with CodeUsage.
func ParseEnvFlag(arg string, from plan.Origin) (plan.Env, error) {
	name, ref, err := cutReference(from, arg, "NAME=REF, such as DB_PASSWORD=secret/app#password")
	if err != nil {
		return plan.Env{}, err
	}
	return plan.Env{Name: name, Source: plan.Source{Ref: ref}, Origin: ref.Read.Origin}, nil
}

// ParseTemplateFlag reads the value of --template, SRC:PATH, and the template
// SRC itself: one file in the sink. Neither name may have a colon in it; a
// configuration file takes any name. The error is a *plan.Problem: CodeUsage
// for the flag, CodeConfig when SRC cannot be read.
func ParseTemplateFlag(in Input, arg string, from plan.Origin) (plan.File, error) {
	src, path, ok := strings.Cut(arg, ":")
	if !ok || src == "" || path == "" || strings.Contains(path, ":") {
		return plan.File{}, flagProblem(from, "it must be SRC:PATH with one colon, such as app.tmpl:app.conf")
	}
	from.Key = path
	text, err := in.read(src)
	if err != nil {
		return plan.File{}, &plan.Problem{
			Code: plan.CodeConfig, Origin: from, What: fmt.Sprintf("cannot read the template %q", src), Why: reason(err), Err: err,
		}
	}
	t := &plan.Template{Name: src, Text: string(text)}
	return plan.File{Path: path, Source: plan.Source{Template: t}, Origin: from}, nil
}

// cutReference splits NAME=REF at the first equals sign.
func cutReference(from plan.Origin, arg, want string) (string, *plan.Ref, error) {
	name, text, ok := strings.Cut(arg, "=")
	if !ok || name == "" || text == "" {
		return "", nil, flagProblem(from, "it must be "+want)
	}
	from.Key = name // which of several flags of the name
	ref, err := plan.ParseRef(text)
	if err != nil {
		return "", nil, flagProblem(from, fmt.Sprintf("the reference for %q is wrong: %s", name, err))
	}
	ref.Read.Origin = from
	return name, &ref, nil
}

// flagProblem never repeats what was given: somebody may have put the secret
// itself where its reference belongs.
func flagProblem(from plan.Origin, why string) error {
	return &plan.Problem{Code: plan.CodeUsage, Origin: from, What: "the value of " + from.At, Why: why}
}
