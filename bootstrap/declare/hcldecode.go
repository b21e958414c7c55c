package declare

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// hclDecoder fills a plan from a file in HCL or JSON and goes on after a problem.
type hclDecoder struct {
	in       Input
	front    string
	file     string // as it was named
	length   int    // of its text in bytes, without a newline at the end, as Resolve reads it
	plan     plan.Plan
	problems plan.Problems
}

// hclValue is a node together with the way that led to it.
type hclValue struct {
	*hclNode
	key    string // template[0].perms
	labels []hclLabel
}

// hclFields has what to do with each key that a block may have.
type hclFields map[string]func(hclValue)

// declareHCL reads a file of a front and gives its root to read. A file that is
// empty declares nothing, which is no error.
func declareHCL(in Input, front, path string, from plan.Origin, read func(*hclDecoder, hclValue)) (plan.Plan, bool, error) {
	src, err := in.read(path)
	if err != nil {
		why, fix := reason(err), ""
		if errors.Is(err, syscall.EISDIR) || errors.Is(err, fs.ErrInvalid) {
			why, fix = "it is a folder", "name a file, and repeat --from for each file in the folder"
		}
		return plan.Plan{}, false, plan.Problems{{
			Code: plan.CodeConfig, Origin: from, What: fmt.Sprintf("cannot read the configuration %q", path), Why: why, Fix: fix, Err: err,
		}}
	}
	d := &hclDecoder{in: in, front: front, file: path, length: len(trimNewline(src))}
	root, bad := readHCL(src)
	if bad != nil {
		d.problems = append(d.problems, &plan.Problem{
			Code: plan.CodeConfig, Origin: d.originAt(bad.at, ""), What: "the configuration", Why: bad.why, Fix: bad.fix,
		})
		return plan.Plan{}, true, d.problems
	}
	read(d, hclValue{hclNode: root})
	if err := d.problems.Err(); err != nil {
		return plan.Plan{}, true, err
	}
	return d.plan, len(root.members) > 0, nil
}

func (d *hclDecoder) originAt(at pos, key string) plan.Origin {
	return plan.Origin{Front: d.front, At: fmt.Sprintf("%s:%d:%d", d.file, at.line, at.col), Key: key}
}

func (d *hclDecoder) origin(v hclValue) plan.Origin { return d.originAt(v.pos, v.key) }

func (d *hclDecoder) fail(v hclValue, why, fix string) { d.failAt(v.pos, v.key, why, fix) }

func (d *hclDecoder) failAt(at pos, key, why, fix string) {
	what := "the configuration"
	if key != "" {
		what = fmt.Sprintf("%q", key)
	}
	d.problems = append(d.problems, &plan.Problem{
		Code: plan.CodeConfig, Origin: d.originAt(at, ""), What: what, Why: why, Fix: fix,
	})
}

// ignore notes what has no meaning here.
func (d *hclDecoder) ignore(v hclValue, why string) {
	d.plan.Ignored = append(d.plan.Ignored, plan.Ignored{What: v.key, Why: why, Origin: d.originAt(v.pos, "")})
}

// ignored is ignore as what to do with a key, whatever its value is.
func (d *hclDecoder) ignored(why string) func(hclValue) {
	return func(v hclValue) { d.ignore(v, why) }
}

// block gives each key of a block to its function and refuses all others. Only
// the keys in many may be there more than once, or be a list of blocks.
func (d *hclDecoder) block(v hclValue, f hclFields, many ...string) {
	if v.kind != kindMap {
		d.fail(v, "it must be a block", "write it with braces, { … }")
		return
	}
	d.noLabels(v)
	seen := map[string]int{}
	for _, m := range v.members {
		key, handle := m.key, f[m.key]
		if v.key != "" {
			key = v.key + "." + m.key
		}
		several := slices.Contains(many, m.key)
		switch {
		case handle == nil:
			d.failAt(m.pos, key, "the key is unknown", hclSuggestion(m.key, f))
			continue
		case seen[m.key] > 0 && !several:
			d.failAt(m.pos, key, "it is there more than once", "keep one of them")
			continue
		}
		for _, child := range m.blocks() {
			seen[m.key]++
			child.key = key
			if several {
				child.key = fmt.Sprintf("%s[%d]", key, seen[m.key]-1)
			}
			switch {
			case child.kind == kindNull:
				d.fail(child, "it has no value", "give it one or leave the key out")
			case seen[m.key] > 1 && !several:
				d.fail(child, "it is there more than once", "keep one of them")
			default:
				handle(child)
			}
		}
	}
}

func (d *hclDecoder) noLabels(v hclValue) {
	if len(v.labels) > 0 {
		d.failAt(v.labels[0].pos, v.key, "a name before the brace means nothing here", "leave the name out")
	}
}

// blocks gives the value of a member; where it is a list of blocks, each of
// them, for that is how HCL takes a list of objects.
func (m hclMember) blocks() []hclValue {
	isBlock := func(n *hclNode) bool { return n.kind == kindMap }
	items := m.value.items
	if len(items) == 0 || !isBlock(items[0]) || slices.ContainsFunc(items, func(n *hclNode) bool { return !isBlock(n) }) {
		return []hclValue{{hclNode: m.value, labels: m.labels}}
	}
	var values []hclValue
	for _, item := range items {
		values = append(values, hclValue{hclNode: item, labels: m.labels})
	}
	return values
}

// labelled gives the blocks that v stands for with their labels, which JSON has
// as keys: {"method": {"approle": { … }}}. A key in known is no label.
func labelled(v hclValue, known hclFields) []hclValue {
	if !v.json || v.kind != kindMap || len(v.members) == 0 {
		return []hclValue{v}
	}
	var values []hclValue
	for _, m := range v.members {
		for _, child := range m.blocks() {
			if child.kind != kindMap || known[m.key] != nil {
				return []hclValue{v}
			}
			child.key, child.labels = v.key, []hclLabel{{m.key, m.pos}}
			values = append(values, child)
		}
	}
	return values
}

// hclSuggestion names the known key that is nearest to a wrong one, or all of them.
func hclSuggestion(wrong string, f hclFields) string {
	known := fields{}
	for name := range f {
		known[name] = nil
	}
	return suggestion(wrong, known)
}

// str gives a text. A number is one too where the originals want text.
func (d *hclDecoder) str(v hclValue) (string, bool) {
	if v.kind != kindString && v.kind != kindInt {
		d.fail(v, "it must be text", "put it in quotes")
		return "", false
	}
	return v.text, true
}

// need gives a text that is not empty.
func (d *hclDecoder) need(v hclValue) (string, bool) {
	s, ok := d.str(v)
	if ok && s == "" {
		d.fail(v, "it is empty", "give it a value")
		return "", false
	}
	return s, ok
}

// text fills a setting. To the originals an empty text is as good as none.
func (d *hclDecoder) text(to *plan.Setting[string]) func(hclValue) {
	return func(v hclValue) {
		if s, ok := d.str(v); ok && s != "" {
			*to = plan.Set(s, d.origin(v))
		}
	}
}

// path fills a setting with a path, which starts where the process does: the
// originals know nothing of the folder of their configuration.
func (d *hclDecoder) path(to *plan.Setting[string]) func(hclValue) {
	return func(v hclValue) {
		if s, ok := d.str(v); ok && s != "" {
			*to = plan.Set(d.in.absolute(s), d.origin(v))
		}
	}
}

// flag takes what HCL decodes to a truth value, and the words of Vault's own
// reader, in quotes or not.
func (d *hclDecoder) flag(v hclValue) (set, ok bool) {
	if v.kind != kindList && v.kind != kindMap {
		set, ok = parseBool(v.text)
	}
	if !ok {
		d.fail(v, "it must be true or false", "")
	}
	return set, ok
}

// number takes a whole number, in quotes or not, from low.
func (d *hclDecoder) number(v hclValue, low int) (int, bool) {
	n, err := strconv.ParseInt(v.text, 0, 32)
	if v.kind != kindInt && v.kind != kindString || err != nil || int(n) < low {
		d.fail(v, fmt.Sprintf("it must be a whole number from %d", low), "")
		return 0, false
	}
	return int(n), true
}

// unit says what a number without a unit is to the original.
type unit time.Duration

// The units. To consul-template a bare number is nanoseconds, which nobody means.
const (
	unitNone   unit = 0
	unitSecond      = unit(time.Second)
)

// duration reads a duration in Go's notation, or with days as Vault has them.
func (d *hclDecoder) duration(v hclValue, bare unit) (time.Duration, bool) {
	n, err := parseDuration(v.text, bare)
	if v.kind != kindString && v.kind != kindInt || err != nil || n < 0 {
		d.fail(v, "it must be a duration with a unit, such as 30s or 5m", "")
		return 0, false
	}
	return n, true
}

func parseDuration(s string, bare unit) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if bare != unitNone {
		if days, ok := strings.CutSuffix(s, "d"); ok {
			n, err := strconv.ParseUint(days, 10, 16)
			return time.Duration(n) * 24 * time.Hour, err
		}
		if n, err := strconv.ParseUint(s, 10, 32); err == nil {
			return time.Duration(n) * time.Duration(bare), nil
		}
	}
	return time.ParseDuration(s)
}

// every fills a setting with a duration.
func (d *hclDecoder) every(to *plan.Setting[time.Duration], bare unit) func(hclValue) {
	return func(v hclValue) {
		if n, ok := d.duration(v, bare); ok {
			*to = plan.Set(n, d.origin(v))
		}
	}
}

// texts gives a list of texts; a text alone is cut at its commas, as the
// originals do it.
func (d *hclDecoder) texts(v hclValue) []string {
	if v.kind == kindString {
		return strings.FieldsFunc(v.text, func(r rune) bool { return r == ',' })
	}
	if v.kind != kindList {
		d.fail(v, "it must be a list of texts", "write it as [\"a\", \"b\"]")
		return nil
	}
	var all []string
	for i, item := range v.items {
		if s, ok := d.str(hclValue{hclNode: item, key: fmt.Sprintf("%s[%d]", v.key, i)}); ok {
			all = append(all, s)
		}
	}
	return all
}

// command gives the arguments of a command as the originals run it: a list is
// run as it is; one text with blanks in it goes through a shell, and one word is
// a program. They cut a text at its commas first, which breaks most lines that
// have one: we refuse those.
func (d *hclDecoder) command(v hclValue) ([]string, bool) {
	if v.kind == kindString && strings.Contains(v.text, ",") {
		d.fail(v, "the original cuts this text at its commas, and runs the pieces as a program with arguments", `write a list: ["sh", "-c", "…"]`)
		return nil, false
	}
	before := len(d.problems)
	argv := d.texts(v)
	switch {
	case len(d.problems) > before:
		return nil, false
	case len(argv) == 0 || strings.TrimSpace(argv[0]) == "":
		d.fail(v, "it names no program", "")
		return nil, false
	case len(argv) == 1 && len(strings.Fields(argv[0])) > 1:
		return []string{"sh", "-c", argv[0]}, true
	}
	return argv, true
}

// mode reads permission bits. Text is octal, as the originals take it. A number
// is taken as it is, so in HCL it must be an octal one (0640): 640 would be
// 0200 to them. JSON has no octal numbers, and one that would let others
// write is rather a slip, such as 400 for 0400.
func (d *hclDecoder) mode(v hclValue, fix string) fs.FileMode {
	base := 8
	if v.kind == kindInt {
		base = 0
	}
	n, err := strconv.ParseUint(v.text, base, 32)
	octal := strings.HasPrefix(v.text, "0") && !strings.HasPrefix(strings.ToLower(v.text), "0x")
	slip := v.kind == kindInt && !octal && (!v.json || n&0o022 != 0)
	switch {
	case v.kind != kindInt && v.kind != kindString || err != nil:
		d.fail(v, "it must be the mode of a file, from 0001 to 0777 in octal", fix)
	case slip:
		d.fail(v, "it is a decimal number, which gives another mode than its digits say", fix)
	case n > 0o777:
		d.fail(v, "the mode has more than permission bits", fix)
	case n == 0:
		d.fail(v, "nobody could read the file", fix)
	default:
		return fs.FileMode(n)
	}
	return 0
}

// place gives the absolute path of a file to be written; "" after a problem. The
// path may not climb: neither do ours.
func (d *hclDecoder) place(v hclValue) string {
	s, ok := d.need(v)
	switch {
	case !ok:
		return ""
	case slices.Contains(strings.Split(s, "/"), ".."):
		d.fail(v, "the path has a .. element", "write the path that is meant")
		return ""
	case strings.HasSuffix(s, "/"):
		d.fail(v, "the path names a folder", "name a file")
		return ""
	}
	return d.in.absolute(s)
}

// signal reads the name of a signal, with SIG or without.
func (d *hclDecoder) signal(v hclValue) (string, bool) {
	s, ok := d.need(v)
	if !ok {
		return "", false
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if _, err := plan.ParseSignal(name); err != nil {
		d.fail(v, err.Error(), "write it as SIGHUP")
		return "", false
	}
	return name, true
}
