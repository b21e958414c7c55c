package volume

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// generationTime is the first part of a generation's name; 16 hexadecimal
// digits follow.
const generationTime = "..20060102T150405Z."

func generationName(now time.Time) string {
	return now.UTC().Format(generationTime) + randomName()
}

// isGeneration tells whether name is one that generationName gives. Kubernetes
// names its own differently.
func isGeneration(name string) bool {
	if len(name) != len(generationTime)+16 {
		return false
	}
	if _, err := time.Parse(generationTime, name[:len(generationTime)]); err != nil {
		return false
	}
	_, err := hex.DecodeString(name[len(generationTime):])
	return err == nil
}

// isOwnDir tells whether name is a folder that belongs to us.
func isOwnDir(root *os.Root, name string) bool {
	info, err := root.Lstat(name)
	return err == nil && info.IsDir() && ownedByUs(info)
}

// isOwnLink tells whether name is our symbolic link to target.
func isOwnLink(root *os.Root, name, target string) bool {
	info, err := root.Lstat(name)
	if err != nil || info.Mode().Type() != fs.ModeSymlink || !ownedByUs(info) {
		return false
	}
	to, err := root.Readlink(name)
	return err == nil && to == target
}

// isOwnSwitch tells whether name is our symbolic link to any generation.
func isOwnSwitch(root *os.Root, name string) bool {
	to, err := root.Readlink(name)
	return err == nil && isGeneration(to) && isOwnLink(root, name, to)
}

// isOwnName tells whether name is one of the links that a user sees.
func isOwnName(root *os.Root, name string) bool {
	return !strings.HasPrefix(name, "..") && isOwnLink(root, name, dataName+"/"+name)
}

// list gives the names in a folder.
func list(root *os.Root) ([]string, error) {
	self, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := self.Readdirnames(-1)
	return names, errors.Join(err, self.Close())
}

// listOwn is list for a folder that must be ours: in one that another user put
// there, a name can be a hard link to a file of ours that is no secret.
func listOwn(root *os.Root) ([]string, error) {
	info, err := root.Stat(".")
	if err != nil {
		return nil, err
	}
	if !ownedByUs(info) {
		return nil, errSwapped
	}
	return list(root)
}

// openSame opens the regular file that info describes and nothing else. A pipe
// that was put there meanwhile cannot make it wait.
func openSame(root *os.Root, name string, info fs.FileInfo, flag int) (*os.File, error) {
	file, err := root.OpenFile(name, flag|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	now, err := file.Stat()
	if err == nil && !os.SameFile(now, info) {
		err = errSwapped
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// linksOf gives the number of names of what info describes, 0 if it cannot be told.
func linksOf(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(st.Nlink) //nolint:unconvert // its type differs between architectures
}
