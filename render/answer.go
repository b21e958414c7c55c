package render

import (
	"errors"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// answer is what the function secret gives to a template: consul-template's
// names for the members of an answer of Vault.
type answer struct {
	RequestID     string
	LeaseID       string
	LeaseDuration int // seconds
	Renewable     bool
	Data          map[string]any
	Warnings      []string
	Auth          *authAnswer
	WrapInfo      *wrapAnswer
}

// authAnswer is what an answer says about a token that it brings.
type authAnswer struct {
	ClientToken   string
	Accessor      string
	Policies      []string
	Metadata      map[string]string
	LeaseDuration int // seconds
	Renewable     bool
}

// wrapAnswer is what an answer says that was wrapped.
type wrapAnswer struct {
	Token           string
	TTL             int // seconds
	CreationTime    time.Time
	WrappedAccessor string
}

// opaque is a value of ours that has members and no printed form.
type opaque interface {
	// name says what it is, advice which member to name instead.
	name() (name, advice string)
}

func (*answer) name() (string, string) {
	return "a whole secret", "name a field of it, such as .Data.FIELD"
}

func (*authAnswer) name() (string, string) {
	return "a whole Auth", "name a member of it, such as .Auth.ClientToken"
}

func (*wrapAnswer) name() (string, string) {
	return "a whole WrapInfo", "name a member of it, such as .WrapInfo.Token"
}

// read gives the answer to a need, or nil when there is none yet.
func (r *run) read(function string, args []string) (*answer, error) {
	need, fail := newNeed(function, args)
	if fail != nil {
		return nil, fail
	}
	need.Read.Origin = r.p.origin
	key := need.Key()
	r.used[key] = true
	if a := r.answers[key]; a != nil {
		return a, nil
	}
	got, ok := r.in.Answers[key]
	if !ok {
		if !r.asked[key] {
			r.asked[key] = true
			r.lacking = append(r.lacking, need)
		}
		return nil, nil
	}
	if got.Err != nil {
		return nil, safe(got.Err, "the read failed")
	}
	return r.keep(key, got.Secret)
}

// safe lets through only errors that are made to be shown.
func safe(err error, why string) error {
	var p *plan.Problem
	if errors.As(err, &p) {
		return p
	}
	return &failure{code: plan.CodeBug, why: why, err: err}
}

// keep copies a secret; nil when it holds nothing (a write without an answer, an
// optional secret that is not there).
func (r *run) keep(key string, s secret.Secret) (*answer, error) {
	data := s.Data.Reveal()
	if data == nil && s.Auth == nil && s.Wrap == nil {
		return nil, nil
	}
	if err := r.inspect(data, 0); err != nil {
		return nil, err
	}
	a := &answer{
		RequestID: s.RequestID, LeaseID: s.LeaseID, LeaseDuration: int(s.Lease.Seconds()),
		Renewable: s.Renewable, Warnings: s.Warnings,
	}
	if data != nil {
		a.Data = clone(data).(map[string]any)
	}
	if t := s.Auth; t != nil {
		a.Auth = &authAnswer{
			ClientToken: string(t.ClientToken.Reveal()), Accessor: t.Accessor, Policies: t.Policies, Metadata: t.Metadata,
			LeaseDuration: int(t.Lease.Seconds()), Renewable: t.Renewable,
		}
	}
	if w := s.Wrap; w != nil {
		a.WrapInfo = &wrapAnswer{
			Token: string(w.Token.Reveal()), TTL: int(w.TTL.Seconds()), CreationTime: w.CreationTime, WrappedAccessor: w.WrappedAccessor,
		}
	}
	r.answers[key] = a
	return a, nil
}

// clone copies a tree of maps and lists.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, elem := range v {
			out[key] = clone(elem)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, elem := range v {
			out[i] = clone(elem)
		}
		return out
	}
	return v
}
