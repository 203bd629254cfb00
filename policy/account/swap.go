package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// swap puts new files and folders in the place of old ones, all or none. They
// are ready in work/next; the old ones go to work/previous and stay there until
// the next time. A file that says so makes the intention durable before the
// first of them moves: a pull that finds it finishes the work.
type swap struct{ out, work string }

func (s *swap) next() string     { return filepath.Join(s.work, "next") }
func (s *swap) previous() string { return filepath.Join(s.work, "previous") }
func (s *swap) promise() string  { return filepath.Join(s.work, "commit.json") }

// begin makes an empty folder for the new files.
func (s *swap) begin() error {
	return errors.Join(os.RemoveAll(s.next()), os.MkdirAll(s.next(), 0o755))
}

// apply puts the named files and folders in place.
func (s *swap) apply(names []string) error {
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(s.out, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode().Type()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%s is a symbolic link and cannot be replaced; name the folder that it leads to with --out", filepath.Join(s.out, name))
		}
	}
	raw, err := json.Marshal(names)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(s.previous()), os.MkdirAll(s.previous(), 0o755), syncFolder(s.next())); err != nil {
		return err
	}
	temporary := s.promise() + ".new"
	if err := writeSynced(temporary, raw); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(temporary, s.promise()), syncFolder(s.work)); err != nil {
		return err
	}
	if err := s.move(names); err != nil {
		if undo := s.undo(names); undo != nil {
			return fmt.Errorf("%w; the next pull goes on from here", errors.Join(err, undo))
		}
		return errors.Join(fmt.Errorf("nothing was replaced: %w", err), os.Remove(s.promise()))
	}
	return s.done()
}

// finish does what an earlier pull promised and did not come to.
func (s *swap) finish() error {
	raw, err := os.ReadFile(s.promise())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var names []string
	if err := json.Unmarshal(raw, &names); err != nil {
		return fmt.Errorf("%s: %w; remove the file if %s is in order", s.promise(), err, s.out)
	}
	if err := s.move(names); err != nil {
		return fmt.Errorf("the last pull's files cannot be put in place: %w", err)
	}
	return s.done()
}

// move takes each name that is still in next to its place. It can be called
// again after any part of it.
func (s *swap) move(names []string) error {
	for _, name := range names {
		from, to, old := filepath.Join(s.next(), name), filepath.Join(s.out, name), filepath.Join(s.previous(), name)
		info, err := os.Lstat(from)
		if errors.Is(err, fs.ErrNotExist) {
			continue // moved already
		}
		if err != nil {
			return err
		}
		if info.IsDir() {
			if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		} else if err := keepFile(to, old); err != nil {
			return err
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
	}
	return syncFolder(s.out)
}

// keepFile copies a file aside; the new one is renamed over it, so that there
// is one at every moment.
func keepFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return writeSynced(to, raw)
}

// undo takes back what move has moved.
func (s *swap) undo(names []string) error {
	var wrong []error
	for _, name := range names {
		to, old, next := filepath.Join(s.out, name), filepath.Join(s.previous(), name), filepath.Join(s.next(), name)
		if _, err := os.Lstat(next); errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, os.Rename(to, next))
		}
		if _, err := os.Lstat(old); err != nil {
			continue // there was none
		}
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, os.Rename(old, to))
		}
	}
	return errors.Join(wrong...)
}

// done forgets the promise and what led to it.
func (s *swap) done() error {
	if err := errors.Join(os.Remove(s.promise()), syncFolder(s.work)); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(s.next()), os.RemoveAll(filepath.Join(s.work, "check.yaml")), os.Truncate(filepath.Join(s.work, "journal.jsonl"), 0))
}

func writeSynced(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Sync(), f.Close())
}
