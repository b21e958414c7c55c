package bootstrap

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/render"
)

// value gives what a reference names, or its default.
func (j *Job) value(ctx context.Context, ref plan.Ref, answers render.Answers, origin plan.Origin) (secret.Value, error) {
	ans := answers[needOf(ref, origin).Key()]
	if ans.Err != nil {
		return j.orDefault(ref, ans.Err, origin)
	}
	means, err := j.means(ref, origin)
	if err != nil {
		return secret.Value{}, err
	}
	defer means.Password.Wipe()
	v, err := render.Reference(ctx, ref, ans.Secret, means, origin)
	if err != nil {
		return j.orDefault(ref, err, origin)
	}
	return v, nil
}

// means fetches what writing a reference down takes.
func (j *Job) means(ref plan.Ref, origin plan.Origin) (render.Means, error) {
	m := render.Means{Random: rand.Reader}
	if ref.KeystorePassword == nil {
		return m, nil
	}
	text, err := j.deps.Resolve(*ref.KeystorePassword)
	m.Password = secret.New(text)
	return m, plan.At(err, origin)
}

// orDefault gives the declared default for a missing secret or field.
func (j *Job) orDefault(ref plan.Ref, err error, origin plan.Origin) (secret.Value, error) {
	if ref.Default == nil || plan.CodeOf(err) != plan.CodeMissing {
		return secret.Value{}, err
	}
	text, err := j.deps.Resolve(*ref.Default)
	if err != nil {
		return secret.Value{}, plan.At(err, origin)
	}
	j.deps.Log.Info("the default is used: its secret is missing", slog.String("declared", origin.String()))
	return secret.New(text), nil
}

// join puts the pieces of an item together.
func (j *Job) join(ctx context.Context, it item, answers render.Answers) (secret.Value, error) {
	var all []byte
	var ps plan.Problems
	for _, piece := range it.pieces {
		var v secret.Value
		var err error
		if piece.Ref != nil {
			v, err = j.value(ctx, *piece.Ref, answers, it.origin)
		} else {
			v, err = j.text(piece, it.origin)
		}
		ps.Add(err)
		all = append(all, v.Reveal()...)
		if piece.Ref == nil {
			v.Wipe()
		}
	}
	if err := ps.Err(); err != nil {
		clear(all)
		return secret.Value{}, err
	}
	return secret.New(all), nil
}

// text gives a piece that stands in the declaration.
func (j *Job) text(piece plan.Piece, origin plan.Origin) (secret.Value, error) {
	if piece.Text == nil {
		return secret.Value{}, nil
	}
	text, err := j.deps.Resolve(*piece.Text)
	if err != nil {
		return secret.Value{}, plan.At(err, origin)
	}
	defer clear(text)
	if piece.From < 0 || piece.To < piece.From || piece.To > len(text) {
		place := "a text of the declaration"
		if piece.Text.Kind != plan.HandleText {
			place = "the text at " + piece.Text.String()
		}
		return secret.Value{}, &plan.Problem{
			Code: plan.CodeConfig, Origin: origin, What: place, Why: "it is shorter than when it was declared",
			Fix: "see that nothing changes it meanwhile",
		}
	}
	return secret.New(bytes.Clone(text[piece.From:piece.To])), nil
}

// token gives the token of the login, byte by byte.
func (j *Job) token(it item) (secret.Value, error) {
	v := j.vault.Token()
	if v.Len() == 0 {
		return secret.Value{}, &plan.Problem{
			Code: plan.CodeConfig, Origin: it.origin, What: "the token of the login", Why: "there is none: an agent at this address adds its own to requests",
			Fix: "leave it out, or log in to Vault itself",
		}
	}
	return v, nil
}
