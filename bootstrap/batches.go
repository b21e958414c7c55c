package bootstrap

import (
	"context"
	"slices"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/render"
)

// manyItems is from where on memory counts for more than the time to compile a
// template twice, or than having all that was read at hand.
const manyItems = 2000

// batchSize is how many items are read and rendered before the next ones are. The
// requests that are under way when one batch ends have nobody beside them, so it is many
// times as much as there ever are.
const batchSize = 500

// inBatches reports whether items can be read and rendered some at a time, and what
// was read be forgotten then: decoded, it takes many times the memory of what is made
// of it. That is so where nobody reads again, and each item tells beforehand what it
// reads.
func (j *Job) inBatches() bool {
	return !j.deps.Keep && len(j.items) > manyItems && !slices.ContainsFunc(j.items, item.findsOut)
}

// findsOut reports whether some of what an item reads is known only when it is made.
func (it item) findsOut() bool {
	return it.bundle != nil || it.program != nil && (it.program.Computes() || len(it.program.Writes()) > 0)
}

// fillBatches is fill for one batch after the other. Each path is read once here, too:
// an answer stays for as long as an item to come needs it. What a template lacks all
// the same is given, with no error.
func (j *Job) fillBatches(ctx context.Context, in render.Input, g *generation) ([]render.Need, error) {
	toCome := map[string]int{}
	for _, n := range firstNeeds(j.items) {
		toCome[n.Key()]++
	}
	var lacking []render.Need
	var ps plan.Problems
	for from := 0; from < len(j.items); from += batchSize {
		to := min(from+batchSize, len(j.items))
		needs := firstNeeds(j.items[from:to])
		var over []string
		for _, n := range needs {
			key := n.Key()
			if toCome[key]--; toCome[key] == 0 {
				over = append(over, key)
			}
		}
		// A generation of the client keeps what it has read, so each batch has its own.
		j.fetch(ctx, j.vault.Generation(), needs, g)
		if err := signalled(ctx); err != nil {
			return nil, err
		}
		lacks, err := j.render(ctx, in, g, from, to)
		if cause := signalled(ctx); err != nil && cause != nil {
			return nil, cause // a signal ended a template
		}
		ps.Add(err)
		lacking = append(lacking, lacks...)
		for _, key := range over {
			delete(g.answers, key)
		}
	}
	return lacking, condense(ps).Err()
}
