// Package render turns templates and references into the bytes of files and
// variables.
//
// It is pure: it opens no file (but those of time zones, for dateInZone) and no
// connection, reads no environment and, but for the functions of time and those
// that make certificates, no clock.
// What a template asks for comes in as [Answers]; what it asked for in vain goes
// out as [Need]s, so that the caller can read them and execute the template
// again. Executing twice with the same answers gives the same bytes; for functions
// of the clock and of chance (bcrypt, genPrivateKey, randInt, …) that takes the
// same [Memory].
//
// The template language is consul-template's, with the functions of sprig
// beside it; two more, see [plan.Dialect], go over data instead of asking for
// it. All are stricter in one point: a value that is not there (an absent
// key, or null) is an error where it is printed or given to a function. It may
// be tested (if, with) and given to default, coalesce, empty, ternary, and, or
// and not. So "<no value>" and "<nil>" never reach an output.
//
// Every error is a [plan.Problem]. It says where in which template it happened
// and which expression it was, and never what any value was. A template that
// does not come to an end by itself is ended: see maxOutput, maxSteps, maxDepth.
package render

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"slices"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// The bounds of one execution. A step is one call, one iteration, or the
// handling of a kibibyte.
const (
	maxOutput = 16 << 20 // bytes, of the output and of each value
	maxSteps  = 1 << 20
	maxDepth  = 256 // templates inside one another; levels of a list or map
)

// ErrMissing is in the chain of every Problem that is about a secret, a field or
// a value which is not there, so that the caller can use a default.
var ErrMissing = errors.New("render: missing")

// Answer is what came of a read: the secret, or why there is none.
type Answer struct {
	Secret secret.Secret
	Err    error // a *plan.Problem
}

// Answers has the answers by [Need.Key].
type Answers map[string]Answer

// Need is a read that a template asked for. Body is what a write sends; it may
// hold secrets, for a template can compute it.
type Need struct {
	Read plan.Read
	Body map[string]secret.Value
}

// Key identifies the need: the Key of the Read and, for one with a body, a hash
// over it. A hash can be guessed at, so such a key is not to be shown.
func (n Need) Key() string {
	if len(n.Body) == 0 {
		return n.Read.Key()
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(n.Body)) {
		for _, part := range [][]byte{[]byte(name), n.Body[name].Reveal()} {
			// The length keeps a|bc and ab|c apart.
			_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			_, _ = h.Write(part)
		}
	}
	return n.Read.Key() + " body=" + hex.EncodeToString(h.Sum(nil))
}

// Input is all that a template can see.
type Input struct {
	Answers Answers
	// Lookup serves env, mustEnv and envOrDefault; nil is an empty environment.
	Lookup func(string) (string, bool)
	// File serves the function file: it gives the text of a file below the
	// folder that templates may read from. Its error is a *plan.Problem; any
	// other is not shown. nil: no folder is configured.
	File func(path string) ([]byte, error)
	// Memory keeps the time and what chance gave for further executions with the
	// same Answers and more; nil: each execution has its own.
	Memory *Memory
}

// Output is what an execution gave: the bytes or, when Lacking is not empty, no
// bytes and what has to be read first.
type Output struct {
	Bytes   secret.Value
	Files   []File // what writeToFile asked for, in the order of the template
	Lacking []Need
	Used    []string // the keys of the answers that it looked at, in any order
}

// File is a file that a template wrote beside its own output. Its path, mode,
// owner and group are the template's word: whoever delivers it checks them.
type File struct {
	plan.File // without a Source
	Content   secret.Value
}
