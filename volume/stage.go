package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// errChown: the kernel did not let us give a file away.
var errChown = errors.New("cannot change the owner")

// staging is the generation under construction. Its folder has mode 0700 until
// Commit, so nobody sees a file before all of them are complete.
type staging struct {
	name  string
	root  *os.Root        // as the Volume holds it
	names map[string]bool // first elements of the paths
	open  bool            // some file is for others than us
	files []receipt.File
}

// Stage writes one file into the generation that the next Commit publishes. The
// file has f.Mode (0 is [plan.DefaultMode]), f.Owner and f.Group before it can be seen.
//
// The error is a [plan.Problem]: CodeConfig for a path, mode or owner that is
// not acceptable, CodeSink for a foreign file in the way, CodeIO when the file
// system is full, read-only or refuses the owner. All that was staged is shredded
// then. Further calls still find further problems, but Commit will refuse.
func (v *Volume) Stage(f plan.File, content secret.Value) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.stage(f, content)
	if err == nil || v.closed {
		return err
	}
	v.failed = true
	return join(err, v.discard())
}

func (v *Volume) stage(f plan.File, content secret.Value) error {
	rel, err := v.check(f.Path, f.Origin)
	if err != nil {
		return err
	}
	to, err := resolve(f)
	if err != nil {
		return err
	}
	if err := v.begin(); err != nil {
		return v.writeProblem(f, err)
	}
	dir := v.staged.root
	if below := path.Dir(rel); below != "." {
		if dir, err = v.folders(below, v.dirMode(to.open())); err != nil {
			return v.writeProblem(f, err)
		}
		defer dir.Close()
	}
	info, err := writeFile(dir, path.Base(rel), content, to, v.sink.disk)
	if err != nil {
		return v.writeProblem(f, err)
	}
	v.staged.files = append(v.staged.files, receiptOf(path.Join(v.opts.Dir, rel), info))
	v.staged.names[first(rel)] = true
	v.staged.open = v.staged.open || to.open()
	return nil
}

// begin makes the generation's folder if there is none.
func (v *Volume) begin() error {
	if v.staged != nil {
		return nil
	}
	name := generationName(time.Now())
	root, err := makeDir(v.sink.root, name, 0o700)
	if err != nil {
		return err
	}
	h, err := hold(root)
	if err != nil {
		return errors.Join(err, v.sink.root.Remove(name))
	}
	v.held[name] = h
	v.staged = &staging{name: name, root: root, names: map[string]bool{}}
	return nil
}

// dirMode is the mode of the folders below the sink. In a folder that we made
// ourselves, others may pass when a file is for them, but not look around.
func (v *Volume) dirMode(open bool) fs.FileMode {
	switch {
	case !v.opts.Ephemeral && !v.sink.made && !v.sink.private:
		return 0o755
	case open:
		return 0o711
	}
	return 0o700
}

// folders opens the folder rel of the generation, which is not the generation itself,
// and makes what is missing.
func (v *Volume) folders(rel string, perm fs.FileMode) (*os.Root, error) {
	dir, err := v.staged.root.OpenRoot(".")
	if err != nil {
		return dir, err
	}
	for elem := range strings.SplitSeq(rel, "/") {
		next, err := makeDir(dir, elem, 0o700)
		if errors.Is(err, fs.ErrExist) {
			next, err = descend(dir, elem)
		}
		if err == nil && perm != 0o700 {
			if err = v.setDirMode(next, perm); err != nil {
				_ = next.Close()
			}
		}
		_ = dir.Close()
		if err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

// setDirMode sets the mode that dirMode gave. Where others may pass, o.Group may
// look around too.
func (v *Volume) setDirMode(dir *os.Root, perm fs.FileMode) error {
	if perm != 0o711 || v.opts.Group <= 0 {
		return chmodDir(dir, perm)
	}
	self, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer self.Close()
	if err := self.Chown(-1, v.opts.Group); err != nil {
		return fmt.Errorf("%w: %w", errChown, err)
	}
	return chmodDir(dir, 0o751)
}

// access is who may do what with a file.
type access struct {
	mode     fs.FileMode
	uid, gid int // -1: left as it is
}

// open tells that someone else than us can be meant to read the file.
func (a access) open() bool { return a.mode&0o077 != 0 || a.uid >= 0 && a.uid != os.Geteuid() }

// CheckAccess tells whether Stage would accept a file's mode, owner and group,
// before a secret is read. A name must be known to this machine's passwd or
// group file; a number always works. The error is a [plan.Problem] with
// CodeConfig.
func (v *Volume) CheckAccess(f plan.File) error {
	_, err := resolve(f)
	return err
}

func resolve(f plan.File) (access, error) {
	to := access{mode: f.Mode, uid: -1, gid: -1}
	if to.mode == 0 {
		to.mode = plan.DefaultMode(f.Group)
	}
	var ps plan.Problems
	bad := func(why, fix string, err error) {
		ps = append(ps, &plan.Problem{Code: plan.CodeConfig, Origin: f.Origin, What: quoteFile(f.Path), Why: why, Fix: fix, Err: err})
	}
	if to.mode&^fs.ModePerm != 0 {
		bad(fmt.Sprintf("mode %v has more than permission bits", f.Mode), "give a mode from 0001 to 0777", nil)
	}
	var err error
	if to.uid, err = lookup(f.Owner, userID); err != nil {
		bad(fmt.Sprintf("owner %q is not known here", f.Owner)+missing("/etc/passwd"), "give the user's number", err)
	}
	if to.gid, err = lookup(f.Group, groupID); err != nil {
		bad(fmt.Sprintf("group %q is not known here", f.Group)+missing("/etc/group"), "give the group's number", err)
	}
	return to, join(ps)
}

// missing tells that the file of names is not there, as in an image made from
// nothing.
func missing(path string) string {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ": there is no " + path
	}
	return ""
}

// lookup turns a name or number into a number; -1 for "".
func lookup(s string, byName func(string) (string, error)) (int, error) {
	if s == "" {
		return -1, nil
	}
	if n, err := parseID(s); err == nil {
		return n, nil
	}
	id, err := byName(s)
	if err != nil {
		return -1, err
	}
	return parseID(id)
}

// parseID refuses 4294967295, which chown(2) takes for "leave it as it is".
func parseID(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return -1, err
	}
	if n == 1<<32-1 {
		return -1, strconv.ErrRange
	}
	return int(n), nil
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// writeFile creates a file that nothing had the name of. All is done through
// the descriptor, and the mode that was asked for comes last: until then the
// file is ours alone. It tells what the file is like then.
func writeFile(dir *os.Root, name string, content secret.Value, to access, sync bool) (info fs.FileInfo, err error) {
	file, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	// A umask may have taken our own bits; shredding needs them if we are
	// killed before the mode is set.
	if err := file.Chmod(0o600); err != nil {
		return nil, err
	}
	if _, err := file.Write(content.Reveal()); err != nil {
		return nil, err
	}
	if err := give(file, to); err != nil {
		return nil, err
	}
	if sync {
		if err := errors.Join(file.Sync(), syncDir(dir)); err != nil {
			return nil, err
		}
	}
	return file.Stat()
}

// give sets the owner and then the mode, both through the descriptor: what a
// group may do must not count for the wrong one first.
func give(file *os.File, to access) error {
	if to.uid >= 0 || to.gid >= 0 {
		if err := file.Chown(to.uid, to.gid); err != nil {
			return fmt.Errorf("%w: %w", errChown, err)
		}
	}
	if err := file.Chmod(to.mode); err != nil {
		return fmt.Errorf("%w: %w", errChown, err)
	}
	return nil
}

func receiptOf(path string, info fs.FileInfo) receipt.File {
	return receipt.File{Path: path, Mode: fmt.Sprintf("%04o", info.Mode().Perm()), UID: uidOf(info), GID: gidOf(info)}
}

// syncDir makes a folder's entries survive a crash; only a disk needs it.
func syncDir(dir *os.Root) error {
	self, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(self.Sync(), self.Close())
}
