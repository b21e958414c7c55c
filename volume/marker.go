package volume

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var (
	errInUse         = errors.New("locked by another process")
	errForeignMarker = errors.New("the marker is not ours")
	errNewerMarker   = errors.New("the marker has an unknown version")
)

// The states of a folder. Without a record the state is "".
const (
	stateLive      = "live"
	stateDelivered = "delivered"
)

// record is what the marker says.
type record struct {
	Version    int    `json:"version"`
	State      string `json:"state"`
	Generation string `json:"generation,omitempty"`
	Next       string `json:"next,omitempty"` // what ..data names from now on, or still not; it is as good as Generation
	ID         string `json:"id"`
	Ephemeral  bool   `json:"ephemeral,omitempty"` // the folder goes with its content
	Made       bool   `json:"made,omitempty"`      // a secretboot made the folder: it goes when nothing else is in it
	Expires    string `json:"expires,omitempty"`   // when something in the generation stops being valid (RFC 3339)
}

// names tells whether target is the generation that the record is about.
func (r record) names(target string) bool {
	return target == r.Generation || r.Next != "" && target == r.Next
}

const (
	markerVersion = 1

	// markerSize is the size of every marker. Rewriting a record in place, in
	// one write that neither grows nor shrinks the file, cannot fail
	// for lack of space and leaves no half of a record when we are killed.
	markerSize = 256
)

// marker is the marker file, locked for as long as it is open.
type marker struct {
	file    *os.File
	rec     record // the zero record when the file is new or empty
	created bool   // by this process
}

// claim opens and locks the marker; with create it is made when missing.
func claim(root *os.Root, create bool) (*marker, error) {
	// Its last owner unlinks the marker while it holds the lock: who opened it
	// before and got the lock after has locked a file without a name.
	for range 100 {
		m, err := tryClaim(root, create)
		if !errors.Is(err, errSwapped) {
			return m, err
		}
	}
	return nil, errInUse
}

func tryClaim(root *os.Root, create bool) (*marker, error) {
	m, err := openMarker(root, create)
	if err != nil {
		return nil, err
	}
	if err := m.lock(root); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	if m.rec, err = readRecord(m.file); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	return m, nil
}

// openMarker gives errSwapped when the marker came or went meanwhile.
func openMarker(root *os.Root, create bool) (*marker, error) {
	if create {
		file, err := createMarker(root)
		if err == nil {
			return &marker{file: file, created: true}, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	file, err := findMarker(root, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) && create {
		return nil, errSwapped
	}
	if err != nil {
		return nil, err
	}
	return &marker{file: file}, nil
}

func createMarker(root *os.Root) (*os.File, error) {
	file, err := root.OpenFile(markerName, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	// The next owner must be able to open it, whatever our umask is.
	if err := file.Chmod(0o600); err != nil {
		return nil, errors.Join(err, file.Close(), root.Remove(markerName))
	}
	return file, nil
}

// findMarker opens the marker that is there, with flag as for [os.OpenFile].
func findMarker(root *os.Root, flag int) (*os.File, error) {
	info, err := root.Lstat(markerName)
	if err != nil {
		return nil, err
	}
	if linksOf(info) == 0 { // unlinked while the kernel looked at it
		return nil, fs.ErrNotExist
	}
	if !isMarker(info) {
		return nil, errForeignMarker
	}
	return openSame(root, markerName, info, flag)
}

// isMarker tells a file that can be our marker from one that was planted: a
// link, a pipe, a device, a folder, a second name, another user's file.
func isMarker(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && ownedByUs(info) && linksOf(info) == 1 && info.Size() <= markerSize
}

// lock takes the lock, or gives errInUse when someone has it and errSwapped
// when the locked file is no longer the marker.
func (m *marker) lock(root *os.Root) error {
	err := unix.Flock(int(m.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errInUse
	}
	if err != nil {
		return err
	}
	mine, err := m.file.Stat()
	if err != nil {
		return err
	}
	named, err := root.Lstat(markerName)
	if err != nil || !os.SameFile(mine, named) {
		return errSwapped
	}
	return nil
}

// sign takes the lock that signed looks for, once the record is ours. It is one
// of an open file description (fcntl(2), F_OFD_SETLK), so it ends with us as the
// other does.
func (m *marker) sign() error {
	lock := signature()
	return unix.FcntlFlock(m.file.Fd(), unix.F_OFD_SETLK, &lock)
}

// signed tells whether an owner lives and the record that is read from here on is
// its own. The kernel only looks (F_OFD_GETLK), so nobody finds the marker taken.
func signed(file *os.File) (bool, error) {
	lock := signature()
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock)
	return lock.Type != unix.F_UNLCK, err
}

func signature() unix.Flock_t { return unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Len: 1} }

// remove unlinks the marker, unless someone has put another file in its place.
func (m *marker) remove(root *os.Root) error {
	mine, err := m.file.Stat()
	if err != nil {
		return err
	}
	named, err := root.Lstat(markerName)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, named) {
		return nil
	}
	if err != nil {
		return err
	}
	return root.Remove(markerName)
}

// readRecord gives the zero record for a file that nobody wrote to yet.
func readRecord(file *os.File) (record, error) {
	buf := make([]byte, markerSize)
	n, err := file.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return record{}, err
	}
	text := bytes.TrimRight(buf[:n], "\x00 \n")
	if len(text) == 0 {
		return record{}, nil
	}
	var rec record
	if err := json.Unmarshal(text, &rec); err != nil {
		return record{}, errForeignMarker
	}
	if rec.Version > markerVersion {
		return record{}, errNewerMarker
	}
	known := rec.State == stateLive || rec.State == stateDelivered
	named := func(s string) bool { return s == "" || isGeneration(s) }
	if rec.Version < 1 || !known || !named(rec.Generation) || !named(rec.Next) {
		return record{}, errForeignMarker
	}
	if _, err := time.Parse(time.RFC3339, rec.Expires); rec.Expires != "" && err != nil {
		return record{}, errForeignMarker
	}
	return rec, nil
}

// write replaces the record.
func (m *marker) write(rec record) error {
	rec.Version = markerVersion
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	buf := bytes.Repeat([]byte(" "), markerSize)
	copy(buf, text)
	buf[markerSize-1] = '\n'
	if _, err := m.file.WriteAt(buf, 0); err != nil {
		return err
	}
	m.rec = rec
	return nil
}

// record writes the marker and names the sink in the error.
func (v *Volume) record(rec record) error {
	err := v.marker.write(rec)
	if err == nil && v.sink.disk {
		err = v.marker.file.Sync()
	}
	if err != nil {
		return markerProblem(&v.opts, err)
	}
	return nil
}

// randomName gives 16 hexadecimal digits. crypto/rand.Read never fails.
func randomName() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
