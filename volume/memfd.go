package volume

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// maxMemfdName is the longest name that memfd_create(2) takes.
const maxMemfdName = 249

// memfd is a delivered file that is in no file system: whoever has the
// descriptor has the file, and with the last of them it is gone.
type memfd struct {
	variable string
	file     *os.File
	receipt  receipt.File
}

// newMemfd makes the file and seals it: nobody, and that is us too, can change
// it any more (memfd_create(2), F_ADD_SEALS in fcntl(2)). Nor can it be executed,
// where the kernel has that seal (Linux 6.3). Its offset is 0.
func newMemfd(f plan.File, to access, content secret.Value) (m memfd, err error) {
	name := path.Base(f.Path)
	name = name[:min(len(name), maxMemfdName)]
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return memfd{}, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	if _, err := file.WriteAt(content.Reveal(), 0); err != nil {
		return memfd{}, err
	}
	if err := give(file, to); err != nil {
		return memfd{}, err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return memfd{}, err
	}
	info, err := file.Stat()
	if err != nil {
		return memfd{}, err
	}
	return memfd{f.Variable(), file, receiptOf("memfd:"+f.Path, info)}, nil
}

// stageMemfd makes the file of the next Commit.
func (r *Roots) stageMemfd(f plan.File, content secret.Value) error {
	to, err := resolve(f)
	if err != nil {
		return err
	}
	m, err := newMemfd(f, to, content)
	if err != nil {
		p := &plan.Problem{Code: plan.CodeIO, Origin: f.Origin, What: "memfd " + quoteFile(f.Path), Why: cause(err), Err: err}
		if errors.Is(err, errChown) {
			p.Why = fmt.Sprintf("cannot give it to owner %q, group %q: %s", f.Owner, f.Group, cause(err))
		}
		return p
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.staged = append(r.staged, m)
	return nil
}

// Descriptors gives the descriptor of each memfd of the last Commit by the
// variable that the path /proc/self/fd/N goes into. They are closed by execve
// until somebody clears their FD_CLOEXEC, and are ours until Shred.
func (r *Roots) Descriptors() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	fds := map[string]int{}
	for _, m := range r.memfds {
		fds[m.variable] = int(m.file.Fd())
	}
	return fds
}

// closeMemfds gives up files that cannot be overwritten any more: the kernel
// frees their pages with the last descriptor.
func closeMemfds(ms *[]memfd) {
	for _, m := range slices.Backward(*ms) {
		_ = m.file.Close()
	}
	*ms = nil
}
