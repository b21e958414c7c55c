// Package volume is the sink: it puts secret files into a folder in memory, all
// at once, and destroys them.
//
// # Layout
//
// The layout is that of a Kubernetes Secret volume, so whatever knows how to
// watch one can watch ours:
//
//	..secretboot                        marker: JSON, mode 0600, locked by its owner
//	..20060102T150405Z.<random>/        one generation; the files are below it
//	..data -> ..20060102T150405Z.<random>
//	NAME -> ..data/NAME                 one per first element of a file's path
//
// Renaming a new ..data over the old one switches every file in one step. A
// reader that opens ..data once and reads below that descriptor sees one
// generation only.
//
// # Order
//
// [Open] checks whatever can be checked before a secret is read, and writes
// nothing but the marker. [Volume.Check] asks whether a path can be delivered.
// [Volume.Stage] writes into a generation that nobody else may enter.
// [Volume.Commit] publishes exactly what was staged since the last Commit, or
// changes nothing. Then either [Volume.Shred] destroys it, or [Volume.Deliver]
// leaves it behind for others.
//
// [OpenRoots] does the same for several folders at once, for files whose absolute
// paths are outside of the first; it also makes memfds, which are in no folder.
//
// # Modes, owners, labels
//
// A file has the mode 0400, or 0440 when a group was asked for, or the one that
// was asked for. Owner and group may be numbers, which need no passwd file. A
// file without a group of its own gets that of its folder where the folder
// has the set-group-id bit, as a pod's fsGroup gives it: the kernel
// sees to that, at every level, because nothing is moved into place once it is made.
// For the same reason there is nothing to do for SELinux: what is created in a
// folder gets the label that the policy has for it there, or that of the mount.
//
// # Who sees it
//
// With Options.MountSize the folder is a tmpfs of our own in a mount namespace
// of our own. It ends with the last process in it, also after SIGKILL. A
// memfd ends with the last process that has its descriptor.
//
// # Who owns a folder
//
// The owner holds an flock(2) on the marker: process numbers mean nothing across
// containers. The marker says live or delivered. A live marker that nobody has
// locked belonged to a process that died; the next Open shreds what it left. A
// delivered generation is never swept, only replaced by Commit or destroyed by
// [ShredPath]. A process that replaces itself (execve) loses the lock and must
// Deliver first.
//
// The marker may also say when what was delivered expires ([Volume.SetExpiry]).
// [Ready] tells from all of that whether the files can be used; for it the owner
// has a second lock, which can be looked for without being taken.
//
// # What an attacker in the folder can do
//
// The folder may be writable by others (an emptyDir is). Whatever is not ours,
// by owner, type and name, is refused and never touched. All access goes through
// [os.Root] one path element at a time, and what was opened is compared with
// what was looked at, so no planted symbolic link is followed, not even one that
// stays inside. Modes and owners are set through descriptors. Who may write in
// the folder can hinder a delivery and can delete our names; who may not, cannot.
// Neither can read a secret or make us write elsewhere. In a folder where anybody may
// rename anything (mode 0777 without the sticky bit) keep nothing else of your
// own: a folder of yours that is renamed to look like a generation is taken for one.
//
// # What shredding promises
//
// On tmpfs and ramfs the overwriting reaches the very pages that held the
// secret; a copy in swap is out of reach. On a disk, journals, snapshots, remapped
// blocks and backups keep copies, which is why a disk is refused unless it is asked for.
//
// Folders are held by descriptors: what a command of the same user renames is shredded
// where it is, and rights that it took away are taken back. A single file that was
// moved out of its folder is not found.
//
// The package works as root and as a plain user, and without /proc. (A plain
// user under a umask that takes the owner's own bits needs Linux 6.6 or /proc.)
package volume

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
)

// Names that we use in the folder. A delivered file can have none of them,
// because no element of its path may start with two dots.
const (
	markerName = "..secretboot"
	dataName   = "..data"
	switchName = "..data_tmp"
)

// Options says which folder to use and how.
type Options struct {
	Dir       string      // absolute
	Origin    plan.Origin // where Dir was declared
	AllowDisk bool        // accept a file system that is not in memory
	Ephemeral bool        // the folder is ours alone: Shred removes it
	Parents   bool        // folders above it that are missing are made, too, with mode 0755

	// KeepPrevious makes Commit leave the generation it replaced, for readers
	// that are below it, until Prune is called.
	KeepPrevious bool

	// Survive makes what was committed stay when we die: the next owner inherits
	// it, as if it had been delivered. Shred still destroys it.
	Survive bool

	// MountSize, when above 0, mounts a tmpfs of so many bytes on Dir in a mount
	// namespace that only the calling goroutine has, which is locked to its thread
	// for good: only what it starts sees the files by their names. Open, Shred
	// and whatever starts a process must be called from it.
	MountSize int64

	// Group, when above 0, may look around in the folders that we made, when a
	// file is for others than us: a command can be told a folder and not a name.
	Group int

	Log *slog.Logger // nil: no log
}

// Volume is an open sink. Its methods may be called from several goroutines.
type Volume struct {
	opts Options
	sink sink
	id   string // of this owner, for the marker

	mu        sync.Mutex
	marker    *marker
	current   string          // the generation that ..data names; "" is none
	inherited bool            // current was delivered by a process before us
	old       []replaced      // generations that wait for Prune
	held      map[string]held // the generations that this Volume made, by their names
	delivered []receipt.File
	staged    *staging
	failed    bool // a Stage failed since the last Commit or Discard
	closed    bool // delivered or shredded
}

// Open makes the folder ready. It is created (mode 0700) when it is missing and
// its parent is in memory. What a dead owner left in it is shredded. A private
// mount hides what is in the folder, which stays where it is; a folder that was
// made for one stays too, because others of ours may be mounted on it.
//
// Every error is a [plan.Problem] with CodeSink: the folder is not in memory, is
// a symbolic link, could have been planted, cannot be written, is in use by
// another secretboot, or holds a foreign file under one of our names; or a
// private mount was asked for and we may not have it.
func Open(o Options) (*Volume, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := openSink(&o)
	if err != nil {
		return nil, err
	}
	v := &Volume{opts: o, sink: s, id: randomName(), held: map[string]held{}}
	if v.marker, err = claim(s.root, true); err != nil {
		s.abandon()
		return nil, v.markerProblem(err)
	}
	if err := v.adopt(); err != nil {
		v.abandon()
		return nil, err
	}
	if err := v.marker.sign(); err != nil {
		v.abandon()
		return nil, v.markerProblem(err)
	}
	if s.disk {
		o.Log.Warn("the sink is not in memory: shredding cannot reach journals, snapshots, remapped blocks and backups",
			slog.String("dir", o.Dir))
	}
	return v, nil
}

// adopt decides what becomes of what is in the folder: a delivered generation
// stays until it is replaced, all else of ours is shredded.
//
// A marker without a record means that its writer died at birth or that somebody
// deleted the marker. Nobody can tell then, so ..data counts as delivered.
func (v *Volume) adopt() error {
	target, err := v.dataTarget()
	if err := join(err, v.checkSwitchName()); err != nil {
		return err
	}
	rec := v.marker.rec
	v.sink.made = v.sink.made || rec.Made
	if target != "" && (rec.State == "" || rec.State == stateDelivered && rec.names(target)) {
		v.current, v.inherited = target, isOwnDir(v.sink.root, target)
	}
	if !v.inherited {
		v.current = ""
	}
	n, err := v.sink.purge(v.current)
	if n > 0 {
		v.opts.Log.Warn("shredded what a secretboot that died left behind",
			slog.String("dir", v.opts.Dir), slog.Int("generations", n))
	}
	if err != nil {
		return err
	}
	if v.inherited {
		// Until Commit replaces it, it is still a delivered folder: if we die
		// the next owner must not take it for ours.
		rec.State, rec.Generation, rec.Next, rec.ID = stateDelivered, v.current, "", cmp.Or(rec.ID, v.id)
		return v.record(rec)
	}
	return v.mark(stateLive)
}

// abandon gives up a folder that could not be adopted, and takes back what Open
// made in it.
func (v *Volume) abandon() {
	if v.marker.created {
		_ = v.marker.remove(v.sink.root)
	}
	_ = v.marker.file.Close()
	v.sink.abandon()
}

// mark writes our own record. An expiry is that of a generation: it stays with it,
// and the next one has none until SetExpiry gives it one.
func (v *Volume) mark(state string) error {
	rec := record{State: state, Generation: v.current, ID: v.id, Ephemeral: v.opts.Ephemeral, Made: v.sink.made}
	if v.current != "" && v.marker.rec.Generation == v.current {
		rec.Expires = v.marker.rec.Expires
	}
	return v.record(rec)
}

// Delivered lists the files of the last Commit, in the order staged, also when
// they have been shredded since.
func (v *Volume) Delivered() []receipt.File {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.delivered)
}

// Dir gives the absolute path of the folder.
func (v *Volume) Dir() string { return v.opts.Dir }

// Check tells whether a file can be delivered to path, which is relative to the
// folder or absolute and inside it. It may be asked before a secret is read.
//
// The error is a [plan.Problem]: CodeConfig for a path that is not acceptable
// (it climbs out, has an empty or "." element or one that starts with "..", a
// control character, an element over 255 bytes or more than 4095 bytes
// with the folder), CodeSink when a foreign file has the name.
func (v *Volume) Check(path string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, err := v.check(path, plan.Origin{})
	return err
}

func (v *Volume) check(path string, from plan.Origin) (string, error) {
	if v.closed {
		return "", v.closedProblem()
	}
	rel, err := relative(v.opts.Dir, path)
	if err != nil {
		return "", pathProblem(path, from, err)
	}
	v.sink.regain()
	return rel, v.checkFree(first(rel), from)
}

// checkFree tells whether name is absent or our own link.
func (v *Volume) checkFree(name string, from plan.Origin) error {
	_, err := v.sink.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !isOwnLink(v.sink.root, name, dataName+"/"+name) {
		err = fs.ErrExist
	}
	return v.nameProblem(name, from, err)
}

// nameProblem is what keeps a name from being ours: something foreign has it
// (fs.ErrExist), or the kernel does not let us look; nil for no error.
func (v *Volume) nameProblem(name string, from plan.Origin, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return v.foreign(name, from)
	}
	p := sinkProblem(&v.opts, err, "it cannot be looked at any more: "+cause(err), "see who took the rights to it away, or deliver elsewhere")
	p.Origin = cmp.Or(from, p.Origin)
	return p
}

// dataTarget gives the generation that ..data names, "" when there is no ..data.
func (v *Volume) dataTarget() (string, error) {
	_, err := v.sink.root.Lstat(dataName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", v.nameProblem(dataName, v.opts.Origin, err)
	}
	target, err := v.sink.root.Readlink(dataName)
	if err != nil || !isGeneration(target) || !isOwnLink(v.sink.root, dataName, target) {
		return "", v.foreign(dataName, v.opts.Origin)
	}
	return target, nil
}

// checkSwitchName refuses a ..data_tmp that we did not leave ourselves.
func (v *Volume) checkSwitchName() error {
	_, err := v.sink.root.Lstat(switchName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !isOwnSwitch(v.sink.root, switchName):
		err = fs.ErrExist
	}
	return v.nameProblem(switchName, v.opts.Origin, err)
}

// ownedByUs tells whether the effective user owns what info describes.
func ownedByUs(info fs.FileInfo) bool { return uidOf(info) == os.Geteuid() }
