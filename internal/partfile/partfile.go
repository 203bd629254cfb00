// Package partfile is a file that is being fetched. Until it is whole it is beside its
// place, in PATH.part, with a note in PATH.part.json of what it is of, so that a later
// run knows what it may go on with. What is there and has no such note is somebody
// else's, and is left alone. While one process works on it others are turned away.
package partfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Refused is why a path cannot be fetched to: somebody has to look at what is there.
type Refused struct{ Text string }

// Error implements error.
func (r *Refused) Error() string { return r.Text }

func refusef(format string, args ...any) error { return &Refused{fmt.Sprintf(format, args...)} }

// File is one that is being fetched.
type File struct {
	*os.File
	path string
	note json.RawMessage // nil: nothing is there
	ours bool            // there is a note of this run or an earlier one
}

// note is what is in PATH.part.json.
type note struct {
	Mark string          `json:"ebbgate"`
	Of   json.RawMessage `json:"of"`
}

const (
	mark     = "unfinished file" // tells our notes from other files of their name
	mostNote = 64 << 20          // bytes
)

// Open begins to fetch to a path, or goes on. A [*Refused] says what is in the way.
func Open(path string, mode fs.FileMode) (*File, error) {
	for range 10 {
		if err := free(path); err != nil {
			return nil, err
		}
		if f, err := open(path, mode); f != nil || err != nil {
			return f, err
		}
	}
	return nil, refusef("others fetch to %s all the time", path)
}

// free makes sure that a file may take the place.
func free(path string) error {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return refusef("%s is a folder: name a file in it", path)
	case !info.Mode().IsRegular():
		return refusef("%s is no regular file, and stays as it is", path)
	}
	return nil
}

func partOf(path string) string { return path + ".part" }
func noteOf(path string) string { return path + ".part.json" }

// open opens the part, nil when it has got its name in this moment.
func open(path string, mode fs.FileMode) (_ *File, err error) {
	part := partOf(path)
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	switch {
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENXIO):
		return nil, foreign(part)
	case err != nil:
		return nil, err
	}
	f := &File{File: file, path: path}
	defer func() {
		if err != nil {
			_ = file.Close() // nothing was written
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, foreign(part)
	}
	switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, refusef("another ebbgate is fetching to %s now, or was suspended while it was: wait for it, or end it", path)
	case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS): // no such thing on this file system
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", part, err)
	}
	if now, err := os.Lstat(part); err != nil || !os.SameFile(now, info) {
		return nil, file.Close()
	}
	if info, err = file.Stat(); err != nil { // as it is now that nobody writes to it
		return nil, err
	}
	f.note, f.ours, err = readNote(noteOf(path))
	if err == nil && !f.ours && info.Size() > 0 {
		err = foreign(part)
	}
	return f, err
}

func foreign(path string) error {
	return refusef("%s is in the way, and is not left by an earlier run: move it away, or choose another name", path)
}

func readNote(path string) (of json.RawMessage, ours bool, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case !info.Mode().IsRegular() || info.Size() > mostNote:
		return nil, false, foreign(path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	var n note
	if json.Unmarshal(b, &n) != nil || n.Mark != mark {
		return nil, false, foreign(path)
	}
	return n.Of, true, nil
}

// Note reads what an earlier run has noted into of, and reports false when there is
// nothing to go on with.
func (f *File) Note(of any) bool { return f.note != nil && json.Unmarshal(f.note, of) == nil }

// Begin throws away what is there, which is of something else.
func (f *File) Begin(of any) error {
	// The note goes first: a later run would believe the one before of what is written now.
	if err := f.write(of); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// Keep notes what is there, after it is.
func (f *File) Keep(of any) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return f.write(of)
}

// write makes a note that is there whole, or as it was.
func (f *File) write(of any) (err error) {
	is, err := json.Marshal(of)
	b := is
	if err == nil {
		b, err = json.Marshal(note{mark, is})
	}
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(f.path), ".ebbgate-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(next.Name())
		}
	}()
	_, err = next.Write(b)
	if err == nil {
		err = next.Sync()
	}
	if err = errors.Join(err, next.Close()); err != nil {
		return err
	}
	if err = os.Rename(next.Name(), noteOf(f.path)); err == nil {
		f.ours, f.note = true, is
	}
	return err
}

// Finish gives the whole file its name. It is closed by Close all the same.
func (f *File) Finish() error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := free(f.path); err != nil {
		return err
	}
	if err := os.Rename(partOf(f.path), f.path); err != nil {
		return err
	}
	return f.forget()
}

// Discard removes what is there.
func (f *File) Discard() error {
	if err := os.Remove(partOf(f.path)); err != nil {
		return err
	}
	return f.forget()
}

func (f *File) forget() error {
	if err := os.Remove(noteOf(f.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Close ends the work on it: another may go on. What was not begun leaves nothing.
func (f *File) Close() error {
	var err error
	if !f.ours {
		err = os.Remove(partOf(f.path)) // empty, and locked until it is closed
	}
	// Closing alone would leave it locked while a process that another goroutine is
	// just starting has the descriptor. Some file systems have no locks.
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	return errors.Join(err, f.File.Close())
}
