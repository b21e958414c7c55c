package doctor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/bootstrap/vault"
)

type readFunc = func(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error)

// want is one read of the plan and what became known of it.
type want struct {
	read     plan.Read
	optional bool
	place    vault.Place
	err      error // why its place is not known
}

// wants lists the reads that can be known ahead, each once. What is wrong with a
// declaration is told where it is rendered.
func (e *exam) wants() []*want {
	var all []*want
	byKey := map[string]*want{}
	for _, part := range parts(e.order.Plan) {
		reads, _, err := bootstrap.Reads(part.plan)
		if err != nil {
			continue
		}
		for _, r := range reads {
			optional := r.Optional || part.optional
			if have := byKey[r.Key()]; have != nil {
				have.optional = have.optional && optional
				continue
			}
			w := &want{read: r, optional: optional}
			byKey[r.Key()] = w
			all = append(all, w)
		}
	}
	return all
}

// paths tells of each path what the token may do there, whether there is a
// secret, and which fields it has.
func (e *exam) paths(ctx context.Context) {
	wants := e.wants()
	if len(wants) == 0 {
		e.skip(stepPath, "", "no path is known ahead")
		return
	}
	if e.session == nil {
		for _, w := range wants {
			e.skip(stepPath, w.subject(), e.asNobody)
		}
		return
	}
	may := map[string][]string{}
	if e.examiner != nil {
		may = e.capabilities(ctx, wants)
	}
	for _, w := range wants {
		if err := e.path(ctx, w, may); err != nil {
			e.failed[w.read.Key()] = err
		}
	}
}

// subject is the path as it was declared.
func (w *want) subject() string {
	s := w.read.Path
	if w.read.Version > 0 {
		s += " version " + strconv.Itoa(w.read.Version)
	}
	return s
}

// capabilities finds where each read goes, and asks about all of it at once.
// What it gives is empty where the token may not ask.
func (e *exam) capabilities(ctx context.Context, wants []*want) map[string][]string {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var ask []string
	for _, w := range wants {
		if w.place, w.err = e.examiner.Locate(ctx, w.read); w.err == nil {
			ask = append(ask, w.place.Paths...)
		}
	}
	slices.Sort(ask)
	may, err := e.examiner.Capabilities(ctx, slices.Compact(ask))
	switch {
	case err != nil && plan.CodeOf(err) == plan.CodeDenied:
		e.skip(stepPath, "sys/capabilities-self", "the token may not ask what it may do; each path is tried instead")
	case err != nil:
		e.fail(stepPath, "sys/capabilities-self", err)
	}
	return may
}

// path judges one read, and gives why it gave nothing.
func (e *exam) path(ctx context.Context, w *want, may map[string][]string) error {
	if w.err != nil {
		e.fail(stepPath, w.subject(), w.err)
		return w.err
	}
	yes, said := w.allowed(may)
	if said && !yes && len(w.read.Else) == 0 {
		err := w.denied()
		e.fail(stepPath, w.subject(), err)
		return err
	}
	granted := "may " + verb(w.read.Op)
	if !said {
		granted = "what the token may do is not known"
	}
	s, err := e.careful(ctx, w.read, nil)
	switch {
	case errors.Is(err, errUnread) && said:
		e.ok(stepPath, w.subject(), granted+"; not read: "+whyUnread(err))
	case errors.Is(err, errUnread):
		e.skip(stepPath, w.subject(), granted+"; not read: "+whyUnread(err))
	case err != nil && w.optional && plan.CodeOf(err) == plan.CodeMissing:
		e.ok(stepPath, w.subject(), "there is no such secret; it is optional, or has a default")
	case err != nil:
		e.fail(stepPath, w.subject(), err)
	case w.read.Op == plan.OpList:
		e.ok(stepPath, w.subject(), "may list; there is something")
	default:
		e.ok(stepPath, w.subject(), describeSecret(s))
	}
	return err
}

// allowed tells whether the token may do at one of the places what the read does;
// said is false where the server told nothing of them.
func (w *want) allowed(may map[string][]string) (yes, said bool) {
	needs := map[plan.Op][]string{plan.OpRead: {"read"}, plan.OpWrite: {"update", "create"}, plan.OpList: {"list"}}[w.read.Op]
	for _, path := range w.place.Paths {
		caps, known := may[path]
		said = said || known
		yes = yes || slices.Contains(caps, "root") || slices.ContainsFunc(needs, func(c string) bool { return slices.Contains(caps, c) })
	}
	return yes, said
}

// denied says which line the policy lacks.
func (w *want) denied() error {
	need := map[plan.Op]string{plan.OpRead: "read", plan.OpWrite: "update", plan.OpList: "list"}[w.read.Op]
	return &plan.Problem{
		Code: plan.CodeDenied, Origin: w.read.Origin, What: "secret " + w.place.Paths[0], Why: "the token may not " + verb(w.read.Op) + " it",
		Fix: `the policy lacks: path "` + w.place.Paths[0] + `" { capabilities = ["` + need + `"] }; check the namespace too`,
	}
}

func verb(op plan.Op) string {
	return map[plan.Op]string{plan.OpRead: "read", plan.OpWrite: "write to", plan.OpList: "list"}[op]
}

// maxNames bounds the names of fields that are told.
const maxNames = 20

// describeSecret tells the names of the fields, and nothing of the values.
func describeSecret(s secret.Secret) string {
	names := slices.Sorted(maps.Keys(s.Fields().Reveal()))
	said := plural(len(names), "field", "fields")
	if s.Version > 0 {
		said = "version " + strconv.Itoa(s.Version) + ", " + said
	}
	if len(names) == 0 {
		return said
	}
	more := ""
	if len(names) > maxNames {
		names, more = names[:maxNames], ", …"
	}
	for i, name := range names {
		names[i] = shortName(name)
	}
	return said + ": " + strings.Join(names, ", ") + more
}

// shortName keeps a name to a length that fits in a line.
func shortName(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// errUnread: it was not read because reading it might change something.
var errUnread = errors.New("doctor: not read")

// errTold: the read failed, and has a finding of its own.
var errTold = errors.New("doctor: told")

// careful reads what can be read without a trace: the key-value engine and lists.
// Whatever else is asked for fails with errUnread.
func (e *exam) careful(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error) {
	if why := e.unsafe(ctx, r); why != "" {
		return secret.Secret{}, &plan.Problem{Code: plan.CodeConfig, Origin: r.Origin, What: "secret " + r.Path, Why: why, Err: errUnread}
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return e.read(ctx, r, body)
}

// unsafe says why a read is better not done; "" when it is harmless.
func (e *exam) unsafe(ctx context.Context, r plan.Read) string { return Unsafe(ctx, e.examiner, r) }

// Unsafe says why a read is better not done where nothing is to be delivered: it
// might make a credential or change something. It gives "" when it is harmless. in
// is nil for a local file that stands in for Vault.
func Unsafe(ctx context.Context, in Examiner, r plan.Read) string {
	switch {
	case r.Op == plan.OpWrite:
		return "it is a write, which would make a credential or change something"
	case in == nil || r.Op == plan.OpList:
		return ""
	}
	place, err := in.Locate(ctx, r)
	switch {
	case err != nil:
		return "where it goes is not known"
	case place.Kind == vault.KindOther:
		return "no KV engine is there, so it would make a credential"
	case place.Kind == vault.KindUnknown:
		return "the server does not say what is mounted there, so it might make a credential; if it is a KV engine, say so with vault.kv"
	}
	return ""
}

// whyUnread gives the reason of an errUnread.
func whyUnread(err error) string {
	var p *plan.Problem
	if errors.As(err, &p) {
		return p.Why
	}
	return ""
}
