package process

import (
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Find gives the path of an executable for name, as execvp(3) looks for it:
// name itself when it has a slash, else the first match in the folders of
// path, a colon-separated list. The error is fs.ErrNotExist, or the errno that
// tells why what was found cannot be executed.
func Find(name, path string) (string, error) {
	if name == "" {
		return "", syscall.ENOENT
	}
	if containsSlash(name) {
		return name, executable(name)
	}
	var denied error
	for _, dir := range splitPath(path) {
		candidate := dir + "/" + name
		err := executable(candidate)
		if err == nil {
			return candidate, nil
		}
		if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR) && denied == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", syscall.ENOENT
}

// MayEnter tells whether what is in a folder can be reached by its name.
func MayEnter(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.X_OK, unix.AT_EACCESS)
}

// executable tells whether we may execute the file: access(2) with the
// effective ids, and not a directory.
func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return syscall.EISDIR
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return syscall.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

func containsSlash(s string) bool { return strings.Contains(s, "/") }

// splitPath splits a PATH; an empty element is the working folder (POSIX).
func splitPath(path string) []string {
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	dirs := strings.Split(path, ":")
	for i, d := range dirs {
		if d == "" {
			dirs[i] = "."
		}
	}
	return dirs
}
