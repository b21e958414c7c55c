package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// ShredPath destroys what was delivered: everything of ours in a folder with our
// marker, whose owner is gone, or one regular file. An ephemeral folder goes too,
// and one that we made if nothing else is in it.
//
// The error is a [plan.Problem]. CodeSink: the path is a symbolic link, is
// neither a folder with our marker nor a regular file, or its owner still runs.
// CodeSink too for a file with several names in a folder where others may
// write: one of them could have linked somebody's file there. CodeIO: the path
// is missing, or could not be destroyed.
//
// A file that is in no folder of ours is refused too, unless force says that it
// is meant: one mistyped path must not cost anybody a file.
func ShredPath(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return shredProblem(path, err)
	case info.IsDir():
		return shredFolder(path)
	case info.Mode().IsRegular() && !force && !delivered(path):
		return refusal(path, "secretboot did not deliver it", "name the folder that it delivered to, or destroy any file with --force")
	case info.Mode().IsRegular():
		return shredOne(path, info)
	}
	return refusal(path, "it is neither a folder nor a regular file", "name the folder or file itself")
}

// delivered reports whether a file is below a generation of a folder with our
// marker.
func delivered(path string) bool {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path)) // ..data is a link
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return false
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Lstat(filepath.Join(filepath.Dir(dir), markerName))
		if err == nil && isMarker(info) && isGeneration(filepath.Base(dir)) {
			return true
		}
	}
	return false
}

func refusal(path, why, fix string) *plan.Problem {
	return &plan.Problem{Code: plan.CodeSink, What: "shred " + strconv.Quote(path), Why: why, Fix: fix}
}

// shredFolder needs no look at the file system: the marker proves that
// the files are ours, wherever they are.
func shredFolder(path string) error {
	o := Options{Dir: path}
	root, err := openFolder(path)
	if err != nil {
		return folderProblem(&o, err)
	}
	s := sink{dir: path, held: held{root: root}}
	if s.disk, err = onDisk(root); err != nil {
		_ = root.Close()
		return s.problem(o.Origin, err)
	}
	m, err := claim(root, false)
	if err != nil {
		_ = root.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return refusal(path, "it has no marker of secretboot", "name a folder that secretboot delivered to")
		}
		return markerProblem(&o, err)
	}
	return s.clear(m)
}

// clear destroys what is in a claimed folder, and the folder if it was ephemeral.
func (s sink) clear(m *marker) error {
	defer func() { _ = s.close() }()
	defer m.file.Close()
	if _, err := s.purge(""); err != nil {
		return err
	}
	if err := m.remove(s.root); err != nil {
		return s.problem(plan.Origin{}, err)
	}
	switch {
	case m.rec.Ephemeral:
		return s.removeFolder(plan.Origin{})
	case m.rec.Made:
		s.removeMade()
	}
	return nil
}

// shredOne destroys the single file that info describes.
func shredOne(path string, info fs.FileInfo) error {
	parent, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return shredProblem(path, err)
	}
	defer parent.Close()
	if linksOf(info) > 1 && openToOthers(parent) {
		return refusal(path, "it has several names, and others may have made this one",
			"remove this name, and shred the file where only you can write")
	}
	disk, err := onDisk(parent)
	if err == nil {
		err = shredFile(parent, filepath.Base(path), info, disk)
	}
	if err != nil {
		return shredProblem(path, err)
	}
	return nil
}

// openToOthers tells whether another user may make names in a folder.
func openToOthers(dir *os.Root) bool {
	info, err := dir.Stat(".")
	return err != nil || info.Mode().Perm()&0o022 != 0 || !ownedByUs(info) && uidOf(info) != 0
}
