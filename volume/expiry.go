package volume

import (
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// SetExpiry notes in the marker when something in the published generation stops
// being valid, to the second, for [Ready]; the zero time takes the note away. It
// belongs to this generation: Deliver keeps it and the next Commit drops it.
//
// The error is a [plan.Problem]: CodeSink or CodeIO for what the kernel refuses,
// and the note is as before then; CodeBug when nothing was published, when it was
// given up, or for a year that RFC 3339 cannot write.
func (v *Volume) SetExpiry(t time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.setExpiry(t)
}

func (v *Volume) setExpiry(t time.Time) error {
	if v.closed {
		return v.closedProblem()
	}
	if v.idle() {
		return v.expiryProblem("told when something expires before anything was published")
	}
	rec := v.marker.rec
	rec.Expires = ""
	if !t.IsZero() {
		if y := t.UTC().Year(); y < 0 || y > 9999 {
			return v.expiryProblem("told a time that RFC 3339 cannot write")
		}
		rec.Expires = t.UTC().Format(time.RFC3339)
	}
	if rec == v.marker.rec {
		return nil
	}
	return v.record(rec)
}

func (v *Volume) expiryProblem(why string) error {
	return &plan.Problem{Code: plan.CodeBug, What: quoteSink(v.opts.Dir), Why: why}
}

// SetExpiry is [Volume.SetExpiry] for every folder. One that fails does not keep
// the others from being told.
func (r *Roots) SetExpiry(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return each(r.all, func(v *Volume) error { return v.SetExpiry(t) })
}
