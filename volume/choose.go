package volume

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// ephemeralPrefix is followed by 16 hexadecimal digits.
const ephemeralPrefix = "secretboot-"

// orphanAge is how old an empty folder must be, without a marker or with one
// that has no record, before it counts as left by a process that died
// between making the one and the other.
const orphanAge = time.Hour

// places are where Choose looks; tests have others.
type places struct{ secrets, shm string }

// Choose gives the folder to use when none was declared: /run/secrets if it is a
// writable tmpfs. Else, with private, a name for a new folder below
// $XDG_RUNTIME_DIR or /dev/shm, which Open will make: somebody must be told that
// name, so only a caller that can tell it asks for private. Folders of that kind
// whose owner died are destroyed on the way, which is logged.
//
// The error is a [plan.Problem] with CodeSink: there is no such place.
func Choose(getenv func(string) (string, bool), private bool, log *slog.Logger) (Options, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return places{secrets: "/run/secrets", shm: "/dev/shm"}.choose(getenv, private, log)
}

func (p places) choose(getenv func(string) (string, bool), private bool, log *slog.Logger) (Options, error) {
	if usable(p.secrets) {
		return Options{Dir: p.secrets, Origin: chosen(p.secrets), Log: log}, nil
	}
	if !private {
		return Options{}, &plan.Problem{
			Code: plan.CodeSink, What: "no folder for the files", Why: p.secrets + " is not a writable tmpfs",
			Fix: "mount a tmpfs there, or give another folder with --dir, such as /dev/shm/NAME",
		}
	}
	parents := p.parents(getenv)
	if len(parents) == 0 {
		return Options{}, &plan.Problem{
			Code: plan.CodeSink, What: "no folder for the files",
			Why: p.secrets + ", XDG_RUNTIME_DIR and " + p.shm + " are no writable tmpfs",
			Fix: "mount a tmpfs, and name it with --dir",
		}
	}
	for _, dir := range parents {
		sweepSiblings(dir, log)
	}
	dir := filepath.Join(parents[0], ephemeralPrefix+randomName())
	return Options{Dir: dir, Origin: chosen(dir), Ephemeral: true, Log: log}, nil
}

// parents gives the folders that an ephemeral one may be made in, best first.
func (p places) parents(getenv func(string) (string, bool)) (dirs []string) {
	if dir, ok := runtimeDir(getenv); ok {
		dirs = append(dirs, dir)
	}
	if usable(p.shm) {
		dirs = append(dirs, p.shm)
	}
	return dirs
}

// chosen is the origin of a folder that nobody declared.
func chosen(dir string) plan.Origin { return plan.Origin{Front: "default", At: "default " + dir} }

// usable tells whether dir is a folder in memory that we may write in. It
// writes nothing: Open does the real test.
func usable(dir string) bool {
	root, err := openFolder(dir)
	if err != nil {
		return false
	}
	defer root.Close()
	disk, err := onDisk(root)
	if err != nil || disk || planted(dir, root) {
		return false
	}
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}

// runtimeDir gives XDG_RUNTIME_DIR if it is what the XDG Base Directory
// Specification demands: absolute, ours, and closed to others.
func runtimeDir(getenv func(string) (string, bool)) (string, bool) {
	dir, _ := getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) || !usable(dir) {
		return "", false
	}
	info, err := os.Lstat(dir)
	return filepath.Clean(dir), err == nil && ownedByUs(info) && info.Mode().Perm() == 0o700
}

// sweepSiblings destroys the ephemeral folders below parent whose owner died.
func sweepSiblings(parent string, log *slog.Logger) {
	root, err := openFolder(parent)
	if err != nil {
		return
	}
	defer root.Close()
	names, err := list(root)
	if err != nil {
		return
	}
	for _, name := range names {
		if !isEphemeral(name) || !isOwnDir(root, name) {
			continue
		}
		swept, err := sweepSibling(root, filepath.Join(parent, name), name)
		switch {
		case err != nil:
			log.Warn("cannot remove what a secretboot that died left behind",
				slog.String("dir", filepath.Join(parent, name)), slog.String("error", err.Error()))
		case swept:
			log.Warn("shredded what a secretboot that died left behind", slog.String("dir", filepath.Join(parent, name)))
		}
	}
}

func isEphemeral(name string) bool {
	id, ok := strings.CutPrefix(name, ephemeralPrefix)
	return ok && len(id) == 16 && strings.Trim(id, "0123456789abcdef") == ""
}

// sweepSibling looks before it locks: an owner that has just made its marker and
// not yet locked it must not find it taken. Once the marker says live,
// only the owner's death frees the lock.
func sweepSibling(parent *os.Root, dir, name string) (bool, error) {
	root, err := descend(parent, name)
	if err != nil {
		return false, nil //nolint:nilerr // it went away meanwhile, or is not for us
	}
	file, err := findMarker(root, os.O_RDWR)
	if err != nil {
		return removeOrphan(parent, root, name), root.Close()
	}
	rec, err := readRecord(file)
	_ = file.Close()
	if err != nil || !mayBeDead(root, rec) {
		return false, root.Close()
	}
	m, err := claim(root, false)
	if err != nil {
		return false, root.Close() // it lives
	}
	if !mayBeDead(root, m.rec) {
		return false, errors.Join(m.file.Close(), root.Close())
	}
	m.rec.Ephemeral = true
	return true, sink{dir: dir, held: held{root: root}}.clear(m)
}

// mayBeDead tells a folder that is to be swept if nobody holds its lock: one
// that is live, and one whose owner died between making the marker and
// writing its record, which is old then and has nothing but the marker.
func mayBeDead(root *os.Root, rec record) bool {
	if rec.State != "" {
		return rec.State == stateLive
	}
	info, err := root.Lstat(markerName)
	if err != nil || time.Since(info.ModTime()) < orphanAge {
		return false
	}
	names, err := list(root)
	return err == nil && len(names) == 1
}

// removeOrphan removes an old and empty folder without a marker.
func removeOrphan(parent, root *os.Root, name string) bool {
	info, err := root.Stat(".")
	return err == nil && time.Since(info.ModTime()) > orphanAge && parent.Remove(name) == nil
}
