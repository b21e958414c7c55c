package declare

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const configName = "config"

// Config is the front for our own configuration file, in YAML. It is strict:
// an unknown key, a key that is there twice, a value of the wrong kind and a
// key without a value are errors with line and column. Anchors, aliases and
// merge keys are understood within bounds. docs/configuration.md lists the
// keys and docs/config.schema.json describes them to an editor.
//
// A relative path inside the file (template_file, ca_cert, token_file, dir, …)
// starts at the folder of the file. A login input that is written into the
// file itself becomes a handle to its key.
type Config struct {
	Path   string      // as the user gave it; "" declares nothing
	Origin plan.Origin // the flag or variable that named it, for a file that cannot be read
}

// Name gives config.
func (Config) Name() string { return configName }

// Declare reads the file. Problems have CodeConfig and an Origin with
// FILE:LINE:COLUMN and the key; for a file that cannot be read it is c.Origin.
func (c Config) Declare(in Input) (plan.Plan, bool, error) {
	if c.Path == "" {
		return plan.Plan{}, false, nil
	}
	src, err := in.read(c.Path)
	if err != nil {
		return plan.Plan{}, false, plan.Problems{{
			Code: plan.CodeConfig, Origin: c.Origin,
			What: fmt.Sprintf("cannot read the configuration file %q", c.Path), Why: reason(err), Err: err,
		}}
	}
	root, problems := readYAML(c.Path, src)
	d := &decoder{in: in, file: c.Path, problems: problems}
	switch {
	case root != nil:
		d.root(value{node: root, at: root.pos})
	case len(problems) == 0: // such as a pipe whose writer failed
		d.problems.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: plan.Origin{Front: configName, At: c.Path + ":1:1"},
			What: "the configuration file", Why: "it is empty", Fix: "declare something in it, or leave --config out",
		})
	}
	if err := d.problems.Err(); err != nil {
		return plan.Plan{}, true, err
	}
	return d.plan, true, nil
}

// decoder fills a plan from nodes and goes on after a problem.
type decoder struct {
	in       Input
	file     string
	plan     plan.Plan
	problems plan.Problems
}

// value is a node together with the way that led to it: a node behind an alias
// has several.
type value struct {
	*node
	key string // files[0].mode
	at  pos    // of the value
}

func (d *decoder) origin(v value) plan.Origin {
	return plan.Origin{Front: configName, At: fmt.Sprintf("%s:%d:%d", d.file, v.at.line, v.at.col), Key: v.key}
}

// fail adds a problem with the place of v. why must not repeat the value.
func (d *decoder) fail(v value, why, fix string) {
	what := "configuration file"
	if v.key != "" {
		what = fmt.Sprintf("configuration key %q", v.key[strings.LastIndexByte(v.key, '.')+1:])
	}
	d.problems = append(d.problems, &plan.Problem{
		Code: plan.CodeConfig, Origin: d.origin(v), What: what, Why: why, Fix: fix,
	})
}

// fields has what to do with each key that a map may have.
type fields map[string]func(value)

// object gives each key of a map to its function and refuses all others.
func (d *decoder) object(v value, f fields) {
	if !d.expect(v, kindMap, "a map of keys") {
		return
	}
	for _, p := range v.pairs {
		child := v.childAt(p)
		handle, ok := f[p.key]
		switch {
		case !ok:
			child.at = p.pos
			d.fail(child, "the key is unknown", cmp.Or(belowRefresh(p.key, f), suggestion(p.key, f)))
		case p.value.kind == kindNull:
			child.at = p.pos
			d.noValue(child)
		default:
			handle(child)
		}
	}
}

func (d *decoder) noValue(v value) {
	d.fail(v, "it has no value", "give it one or leave the key out")
}

func (v value) childAt(p pair) value {
	key := p.key
	if v.key != "" {
		key = v.key + "." + p.key
	}
	return value{node: p.value, key: key, at: p.value.pos}
}

// list gives each item of a list to its function.
func (d *decoder) list(v value, item func(value)) {
	if !d.expect(v, kindList, "a list") {
		return
	}
	for i, n := range v.items {
		item(value{node: n, key: fmt.Sprintf("%s[%d]", v.key, i), at: n.pos})
	}
}

func (d *decoder) expect(v value, k kind, what string) bool {
	if v.kind == k {
		return true
	}
	fix := ""
	if v.key == "" {
		fix = "write it as YAML or JSON; a file of Vault Agent's or consul-template's goes to --from agent:FILE or --from consul-template:FILE"
	}
	d.fail(v, "it must be "+what, fix)
	return false
}

// str gives a text that is not empty. A number is no text: YAML would change
// how 0123 or 1.10 are written.
func (d *decoder) str(v value) (string, bool) {
	fix := ""
	if v.kind == kindInt || v.kind == kindFloat || v.kind == kindBool {
		fix = "put it in quotes"
	}
	if v.kind != kindString {
		d.fail(v, "it must be text", fix)
		return "", false
	}
	if v.text == "" {
		d.fail(v, "it is empty", "give it a value or leave the key out")
		return "", false
	}
	return v.text, true
}

// text fills a setting with a text.
func (d *decoder) text(to *plan.Setting[string]) func(value) {
	return func(v value) {
		if s, ok := d.str(v); ok {
			*to = plan.Set(s, d.origin(v))
		}
	}
}

// into fills a plain string.
func (d *decoder) into(to *string) func(value) {
	return func(v value) {
		if s, ok := d.str(v); ok {
			*to = s
		}
	}
}

// account fills in a user or group: a name, or a number with or without quotes.
func (d *decoder) account(to *string) func(value) {
	return func(v value) {
		if v.kind == kindInt && strings.Trim(v.text, "0123456789") == "" && (v.text == "0" || v.text[0] != '0') {
			*to = v.text
			return
		}
		d.into(to)(v)
	}
}

// path fills a setting with a path.
func (d *decoder) path(to *plan.Setting[string]) func(value) {
	return func(v value) {
		if s, ok := d.str(v); ok {
			*to = plan.Set(d.beside(s), d.origin(v))
		}
	}
}

// beside gives a path that is relative to the folder of the file.
func (d *decoder) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return d.in.absolute(filepath.Join(filepath.Dir(d.file), path))
}

func (d *decoder) flag(v value) (set, ok bool) {
	if !d.expect(v, kindBool, "true or false") {
		return false, false
	}
	return strings.EqualFold(v.text, "true"), true
}

func (d *decoder) boolean(to *plan.Setting[bool]) func(value) {
	return func(v value) {
		if set, ok := d.flag(v); ok {
			*to = plan.Set(set, d.origin(v))
		}
	}
}

// duration fills a setting with a duration in Go's notation. A bare number has
// no unit and is refused, but for 0.
func (d *decoder) duration(to *plan.Setting[time.Duration]) func(value) {
	return func(v value) {
		n, err := time.ParseDuration(v.text)
		if v.kind != kindString && v.text != "0" || err != nil || n < 0 {
			d.fail(v, "it must be a duration with a unit, such as 30s or 5m, or 0", "")
			return
		}
		*to = plan.Set(n, d.origin(v))
	}
}

// number gives a whole number from low.
func (d *decoder) number(v value, low int) (int, bool) {
	n, err := strconv.Atoi(v.text)
	if v.kind != kindInt || err != nil || n < low {
		d.fail(v, fmt.Sprintf("it must be a whole number from %d", low), "")
		return 0, false
	}
	return n, true
}

// oneOf gives what parse makes of a word, or says the words that it knows.
func oneOf[T any](d *decoder, v value, words []string, parse func(string) (T, bool)) (T, bool) {
	t, ok := parse(v.text)
	if !ok || v.kind != kindString && v.kind != kindInt {
		d.fail(v, "it must be one of "+strings.Join(words, ", "), "")
		return t, false
	}
	return t, true
}

// setWord takes one of a few words.
func setWord[T any](d *decoder, to *plan.Setting[T], words []string, parse func(string) (T, bool)) func(value) {
	return func(v value) {
		if t, ok := oneOf(d, v, words, parse); ok {
			*to = plan.Set(t, d.origin(v))
		}
	}
}

func (d *decoder) root(v value) {
	p := &d.plan
	d.object(v, fields{
		"version":       d.version,
		"vault":         d.vault,
		"dev":           d.path(&p.Vault.Dev),
		"dir":           d.path(&p.Sink.Dir),
		"mount":         setWord(d, &p.Sink.Mount, plan.MountNames(), plan.ParseMount),
		"mount_size":    limit(d, &p.Sink.MountSize, plan.ParseSize),
		"allow_disk":    d.boolean(&p.Sink.AllowDisk),
		"timeout":       d.duration(&p.Timeout),
		"expires":       d.duration(&p.Expires),
		"ci":            setWord(d, &p.CI, plan.CINames(), plan.ParseCI),
		"ci_export":     setWord(d, &p.CIExport, plan.CIExportNames(), plan.ParseCIExport),
		"receipt":       d.path(&p.Receipt),
		"on_expiry":     setWord(d, &p.OnExpiry, plan.ExpiryNames(), plan.ParseExpiry),
		"keep_previous": d.duration(&p.KeepPrevious),
		"listen":        d.listen,
		"exit_with":     d.exitWith,
		"template_root": d.path(&p.TemplateRoot),
		"refresh":       d.refresh(&p.Refresh),
		"files":         func(v value) { d.list(v, d.fileEntry) },
		"env":           d.env,
		"env_from":      func(v value) { d.list(v, d.envFrom) },
		"run":           d.run,
	})
}

func (d *decoder) version(v value) {
	if v.kind != kindInt || v.text != "1" {
		d.fail(v, "this version of secretboot reads version 1 of the file", "write version: 1")
	}
}

func (d *decoder) run(v value) {
	r := &d.plan.Run
	d.object(v, fields{
		"command":          d.command,
		"mode":             setWord(d, &r.Mode, plan.RunModeNames(), plan.ParseRunMode),
		"kill_timeout":     d.duration(&r.KillTimeout),
		"janitor":          d.boolean(&r.Janitor),
		"keep_credentials": d.boolean(&r.KeepCredentials),
		"pristine":         d.boolean(&r.Pristine),
		"env_allow":        d.patterns(&r.EnvAllow),
		"env_deny":         d.patterns(&r.EnvDeny),
		"dangerous_env":    d.boolean(&r.DangerousEnv),
		"user":             d.user,
		"mask":             setWord(d, &r.Mask, plan.SwitchNames(), plan.ParseMask),
		"fail_on_leak":     d.boolean(&r.FailOnLeak),
		"pty":              setWord(d, &r.PTY, plan.SwitchNames(), plan.ParsePTY),
		"no_new_privs":     d.boolean(&r.NoNewPrivs),
		"cap_drop":         d.capDrop,
	})
}

// command takes the program to run.
func (d *decoder) command(v value) {
	d.plan.Run.Command, d.plan.Run.CommandOrigin = d.argv(v), d.origin(v)
}

// argv takes a list: one text would have to be split, and there is no shell.
func (d *decoder) argv(v value) []string {
	if v.kind == kindString {
		d.fail(v, "it must be a list: the program and its arguments", "write it as [program, argument]; no shell is started")
		return nil
	}
	var argv []string
	d.list(v, func(item value) {
		if item.kind == kindString && item.text == "" && len(argv) > 0 {
			argv = append(argv, "") // an empty argument is one
			return
		}
		if s, ok := d.str(item); ok {
			argv = append(argv, s)
		}
	})
	if v.kind == kindList && len(v.items) == 0 {
		d.fail(v, "the list is empty", "name the program")
	}
	return argv
}

// suggestion names the known key that is nearest to a wrong one, or all of them.
func suggestion(wrong string, known fields) string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	if near := plan.Nearest(wrong, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "known keys: " + strings.Join(names, ", ")
}
