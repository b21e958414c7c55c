package doctor

import (
	"context"
	"errors"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// stage is the session as a job may have it: it is logged in already, reads with
// care, and is closed by us.
type stage struct {
	bootstrap.Vault
	exam *exam
}

// Login does nothing.
func (stage) Login(context.Context) error { return nil }

// Close does nothing.
func (stage) Close(context.Context) error { return nil }

// Generation reads with care. What has a finding of its own already says so.
func (s stage) Generation() readFunc {
	return func(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error) {
		err := s.exam.failed[r.Key()]
		var p *plan.Problem
		if !errors.As(err, &p) {
			return s.exam.careful(ctx, r, body)
		}
		told := *p
		told.Err = errors.Join(errTold, p.Err)
		return secret.Secret{}, &told
	}
}

// render makes every file and variable, each by itself, and tells its size.
func (e *exam) render(ctx context.Context) {
	all := parts(e.order.Plan)
	if len(all) == 0 {
		e.skip(stepRender, "", "nothing is declared")
	}
	for _, one := range all {
		job, err := e.world.Job(one.plan, stage{e.session, e})
		switch {
		case err != nil:
			e.fail(stepRender, one.subject, err)
		case e.session == nil:
			e.skip(stepRender, one.subject, e.asNobody)
		default:
			e.renderOne(ctx, one, job)
		}
	}
}

func (e *exam) renderOne(ctx context.Context, one part, job Job) {
	made, err := job.Rehearse(ctx)
	switch {
	case errors.Is(err, errUnread):
		e.skip(stepRender, one.subject, "it needs what is not read: "+whyOf(err, errUnread))
		return
	case errors.Is(err, errTold):
		e.skip(stepRender, one.subject, "its secret cannot be read: see above")
		return
	case err != nil:
		e.fail(stepRender, one.subject, err)
		return
	case len(made) == 0:
		e.ok(stepRender, one.subject, "nothing: its secret is missing or has no field that is wanted")
	}
	for _, m := range made {
		e.judge(m)
	}
}

// whyOf gives the reason of the problem in err that has the cause.
func whyOf(err, cause error) string {
	var ps plan.Problems
	ps.Add(err)
	for _, p := range ps {
		if errors.Is(p, cause) {
			return innermost(p, cause).Why
		}
	}
	return ""
}

// innermost gives the problem that had the cause first: a template's is about
// that of a read.
func innermost(p *plan.Problem, cause error) *plan.Problem {
	var inner *plan.Problem
	for errors.As(p.Err, &inner) && errors.Is(inner, cause) {
		p = inner
	}
	return p
}

// judge tells the size of one output, and whether a command can have it.
func (e *exam) judge(m bootstrap.Made) {
	n := uint64(m.Content.Len())
	if m.Name == "" {
		e.made += n
		e.ok(stepRender, "file "+quote(m.Path), size(n))
		m.Content.Wipe()
		return
	}
	if err := e.world.Variable(m.Name, m.Content); err != nil {
		e.fail(stepRender, "variable "+m.Name, err)
	} else {
		e.ok(stepRender, "variable "+m.Name, size(n))
	}
	if e.order.Probe != "" && isTracking(m.Name) {
		e.kept[m.Name] = m.Content
		return
	}
	m.Content.Wipe()
}
