package volume

import (
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Roots is one delivery into several folders. Each of them is a [Volume] with a
// marker, a staging and a switch of its own, so what holds for one folder holds
// for each. All of them are switched, in order, or none is: when one refuses,
// those before it are switched back. Between two switches a reader can see one
// folder new and another old, and a kill there can leave it so until the next
// start.
//
// A relative path is below the first folder, which may be missing; an absolute
// one below the longest folder that it is in. The methods may be called from
// several goroutines.
//
// A file that is declared as a memfd goes into no folder: see Descriptors.
type Roots struct {
	mu   sync.Mutex
	main *Volume   // nil: no folder for relative paths
	all  []*Volume // in the order of the switch

	staged, memfds []memfd        // of the next Commit, and of the last one
	told           []receipt.File // of memfds, also when they are closed
	spoiled        bool           // a Stage failed since the last Commit
}

// OpenRoots opens the folder of o, unless o.Dir is empty, and every folder that
// the absolute paths of a plan need besides: the parent of a file, the folder of
// a set. All are subject to the rules of [Open]; of o, they share AllowDisk,
// KeepPrevious, Survive and Log, but not the private mount. Declarations were written for
// programs that make every folder on the way to a file: so does it, in memory.
//
// The problems of all folders are returned together, and those of the paths
// with them; nothing is left open then.
func OpenRoots(o Options, files []plan.File, sets []plan.FileSet) (*Roots, error) {
	r := &Roots{}
	var ps plan.Problems
	if o.Dir != "" {
		ps.Add(r.open(o))
		r.main = r.last()
	}
	for _, place := range outside(o.Dir, files, sets) {
		o.Dir, o.Origin, o.Ephemeral, o.MountSize, o.Parents = place.dir, place.origin, false, 0, true
		ps.Add(r.open(o))
	}
	if len(ps) == 0 {
		return r, nil
	}
	for _, f := range files {
		if _, err := relative("/", f.Path); err != nil && !f.Memfd {
			ps.Add(pathProblem(f.Path, f.Origin, err))
		}
	}
	return nil, join(ps, r.Shred())
}

// open adds a folder, unless another name of it was opened before.
func (r *Roots) open(o Options) error {
	if info, err := os.Stat(o.Dir); err == nil {
		for _, v := range r.all {
			if have, err := v.sink.root.Stat("."); err == nil && os.SameFile(have, info) {
				return sinkProblem(&o, nil, "it is the same folder as "+strconv.Quote(v.opts.Dir), "give all files in it by one name of the folder")
			}
		}
	}
	v, err := Open(o)
	if err != nil {
		return err
	}
	r.all = append(r.all, v)
	return nil
}

func (r *Roots) last() *Volume {
	if len(r.all) == 0 {
		return nil
	}
	return r.all[len(r.all)-1]
}

// place is a folder with the declaration that needs it first.
type place struct {
	dir    string
	origin plan.Origin
}

// NeedsDir tells whether a plan has a relative path: OpenRoots needs o.Dir then.
func NeedsDir(files []plan.File, sets []plan.FileSet) bool {
	return slices.ContainsFunc(files, func(f plan.File) bool { return !f.Memfd && !path.IsAbs(f.Path) }) ||
		slices.ContainsFunc(sets, func(s plan.FileSet) bool { return !path.IsAbs(s.Dir) })
}

// outside lists the folders besides dir that absolute paths need, each once and
// after those that it is in. A path that is not acceptable needs none: Check
// tells why.
func outside(dir string, files []plan.File, sets []plan.FileSet) (places []place) {
	add := func(folder string, from plan.Origin) {
		known := slices.ContainsFunc(places, func(p place) bool { return p.dir == folder })
		if folder == cleanDir(dir) || isBelow(dir, folder) || known {
			return
		}
		places = append(places, place{folder, from})
	}
	for _, f := range files {
		if _, err := relative("/", f.Path); err == nil && path.IsAbs(f.Path) && !f.Memfd {
			add(path.Dir(f.Path), f.Origin)
		}
	}
	for _, s := range sets {
		if path.IsAbs(s.Dir) {
			add(path.Clean(s.Dir), s.Origin)
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return strings.Compare(a.dir, b.dir) })
	return places
}

// isBelow tells that an absolute path is inside dir.
func isBelow(dir, p string) bool {
	return dir != "" && strings.HasPrefix(p, strings.TrimSuffix(cleanDir(dir), "/")+"/")
}

func cleanDir(dir string) string {
	if dir == "" {
		return ""
	}
	return path.Clean(dir)
}

// volume gives the folder that a path is in.
func (r *Roots) volume(p string, from plan.Origin) (*Volume, error) {
	var best *Volume
	for _, v := range r.all {
		if path.IsAbs(p) && isBelow(v.opts.Dir, p) && (best == nil || len(v.opts.Dir) > len(best.opts.Dir)) {
			best = v
		}
	}
	if !path.IsAbs(p) {
		best = r.main
	}
	if best != nil {
		return best, nil
	}
	_, err := relative("/", p)
	switch {
	case err != nil:
	case path.IsAbs(p):
		err = errors.New("its folder is none that was declared before anything was read")
	default:
		err = errors.New("it is relative, and no folder was declared that it could be in")
	}
	return nil, pathProblem(p, from, err)
}

// Dir gives the folder of relative paths. When there is none it gives the only
// folder, or "" when there are several.
func (r *Roots) Dir() string {
	switch {
	case r.main != nil:
		return r.main.Dir()
	case len(r.all) == 1:
		return r.all[0].Dir()
	}
	return ""
}

// Folders lists all folders, for [ShredPath].
func (r *Roots) Folders() []string {
	var dirs []string
	for _, v := range r.all {
		dirs = append(dirs, v.Dir())
	}
	return dirs
}

// Check is [Volume.Check] of the folder that path is in; CodeConfig too for a
// path in no folder of these. A memfd's name needs no check.
func (r *Roots) Check(path string) error {
	v, err := r.volume(path, plan.Origin{})
	if err != nil {
		return err
	}
	return v.Check(path)
}

// CheckAccess is [Volume.CheckAccess].
func (r *Roots) CheckAccess(f plan.File) error {
	_, err := resolve(f)
	return err
}

// Stage is [Volume.Stage] in the folder that f.Path is in. After an error what
// was staged in any of them is shredded.
func (r *Roots) Stage(f plan.File, content secret.Value) error {
	err := r.stage(f, content)
	if err == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spoiled = true
	closeMemfds(&r.staged)
	return join(err, each(r.all, (*Volume).spoil))
}

func (r *Roots) stage(f plan.File, content secret.Value) error {
	if f.Memfd {
		return r.stageMemfd(f, content)
	}
	v, err := r.volume(f.Path, f.Origin)
	if err != nil {
		return err
	}
	return v.Stage(f, content)
}

// spoil shreds what was staged, because a file elsewhere could not be.
func (v *Volume) spoil() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failed = true
	return v.discard()
}

// Commit is [Volume.Commit] in every folder or in none.
func (r *Roots) Commit() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	spoiled := r.spoiled
	r.spoiled = false
	err := commitAll(r.all)
	if err == nil && spoiled { // there are memfds alone
		err = &plan.Problem{Code: plan.CodeBug, What: "memfd", Why: "told to publish although a file could not be staged"}
	}
	if err != nil {
		closeMemfds(&r.staged)
		return err
	}
	if len(r.staged) == 0 { // whoever has them keeps them
		return nil
	}
	closeMemfds(&r.memfds)
	r.memfds, r.staged, r.told = r.staged, nil, nil
	for _, m := range r.memfds {
		r.told = append(r.told, m.receipt)
	}
	return nil
}

// Delivered lists the files of the last Commit, by folder, and then its memfds.
func (r *Roots) Delivered() []receipt.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	var files []receipt.File
	for _, v := range r.all {
		files = append(files, v.Delivered()...)
	}
	return append(files, r.told...)
}

// Deliver is [Volume.Deliver] for every folder or none. The memfds stay open.
func (r *Roots) Deliver() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return deliverAll(r.all)
}

// Shred is [Volume.Shred] for every folder, the last one first: it may be inside
// another. Of the memfds it closes our descriptors.
func (r *Roots) Shred() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	closeMemfds(&r.staged)
	closeMemfds(&r.memfds)
	var ps plan.Problems
	for _, v := range slices.Backward(r.all) {
		ps.Add(v.Shred())
	}
	return join(ps)
}

// lockAll locks every folder, in order; the result unlocks them.
func lockAll(vs []*Volume) (unlock func()) {
	for _, v := range vs {
		v.mu.Lock()
	}
	return func() {
		for _, v := range vs {
			v.mu.Unlock()
		}
	}
}
