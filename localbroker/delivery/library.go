package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Library holds the streams that were defined on this machine. Each is a folder
// with its definition, stream.json, and a folder of files for each version:
//
//	local/STREAM/stream.json     replaced in one step: before, the old version is in force, after, the new one
//	local/STREAM/VERSION/FILE    content, as it was when the version was defined
//	local/STREAM/VERSION/FILE.sums
//
// What is in a version's folder is never written to again. The version before the
// present one stays, for answers that are under way. A deleted stream leaves its
// definition, so that the next one of its name goes on with the versions: a device
// must not take the one for the other.
//
// A gateway reads while commands of other processes write; commands take turns by
// a lock on the folder.
type Library struct {
	dir     string
	missing func(n int64) int64 // see Keep; nil: nothing is

	mu     sync.Mutex
	known  map[string]loaded
	recent *recent
}

// loaded is a definition that has been read, and the file that it was read from.
type loaded struct {
	stamp  fs.FileInfo
	stream *Stream
	sums   map[int]sums // by file
}

const (
	definitionFile = "stream.json"
	keepLoaded     = 256 // definitions in memory
)

// errUnreadable is that nothing of the library can be read, whatever stream is asked for.
var errUnreadable = errors.New("the streams defined here cannot be read")

// OpenLibrary opens the streams of a folder. What is not there yet is made when a
// stream is.
func OpenLibrary(dir string) *Library {
	return &Library{dir: filepath.Join(dir, "local"), known: map[string]loaded{}, recent: newRecent()}
}

func (l *Library) definition(id string) string { return filepath.Join(l.dir, id, definitionFile) }

func (l *Library) folder(s *Stream) string {
	return filepath.Join(l.dir, s.ID, strconv.Itoa(s.Version))
}

// Describe reads the present definition of a stream, hashes included.
func (l *Library) Describe(id string) (*Stream, error) {
	s, err := l.read(id)
	if err == nil && s.Deleted {
		err = errNoStream
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", id, err)
	}
	return s, nil
}

// List reads all definitions, by name.
func (l *Library) List() ([]*Stream, error) {
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	var out []*Stream
	for _, e := range entries {
		if !ValidID(e.Name()) {
			continue
		}
		s, err := l.read(e.Name())
		switch {
		case errors.Is(err, errNoStream): // a command that was killed left it
		case err != nil:
			return nil, fmt.Errorf("stream %s: %w", e.Name(), err)
		case !s.Deleted:
			out = append(out, s)
		}
	}
	return out, nil
}

// read reads a definition, a deleted one too.
func (l *Library) read(id string) (*Stream, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("%w: a name has 1 to %d letters, digits, '_' and '-'", errNoStream, maxStreamID)
	}
	b, err := os.ReadFile(l.definition(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoStream
	}
	if err != nil {
		return nil, err
	}
	s := new(Stream)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; define the stream anew", l.definition(id), err)
	}
	if s.ID != id {
		return nil, fmt.Errorf("%s is of stream %q: it was copied by hand, define the stream anew", l.definition(id), s.ID)
	}
	return s, nil
}

// stream finds the present version of a stream. A definition is read again when its file is another.
func (l *Library) stream(id string) (*Stream, error) {
	k, err := l.load(id)
	if err == nil && k.stream.Deleted {
		err = errNoStream
	}
	return k.stream, err
}

func (l *Library) load(id string) (loaded, error) {
	now, err := os.Stat(l.definition(id))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return loaded{}, errNoStream
	}
	if errors.Is(err, fs.ErrPermission) {
		if _, there := os.Lstat(filepath.Join(l.dir, id)); errors.Is(there, fs.ErrPermission) {
			err = fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
	if err != nil {
		return loaded{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, ok := l.known[id]; ok && os.SameFile(k.stamp, now) && k.stamp.ModTime().Equal(now.ModTime()) {
		return k, nil
	}
	s, err := l.read(id)
	if err != nil {
		return loaded{}, err
	}
	k := loaded{stamp: now, stream: s, sums: map[int]sums{}}
	for _, f := range s.Files {
		if k.sums[f.ID], err = readSums(sumsPath(l.folder(s), f.ID), &f); err != nil && !s.Deleted {
			return loaded{}, err
		}
	}
	if len(l.known) >= keepLoaded {
		clear(l.known)
	}
	l.known[strings.Clone(id)] = k
	return k, nil
}

// chunk implements source.
func (l *Library) chunk(_ context.Context, s *Stream, f *File, n int64) ([]byte, error) {
	key := s.key(f.ID, n)
	if c := l.recent.get(key); c != nil {
		return c, nil
	}
	k, err := l.load(s.ID)
	switch {
	case err != nil:
		return nil, err
	case k.stream.Version != s.Version || k.stream.Deleted:
		return nil, errVersion
	}
	c, err := readChunk(filePath(l.folder(s), f.ID), k.sums[f.ID], f, n)
	if err != nil {
		return nil, err
	}
	l.recent.put(key, c)
	return c, nil
}

// Change is what a stream is to become.
type Change struct {
	Description *string  // nil: as it is
	Paths       []string // files, and folders whose files are meant, numbered from 0, or as "7=PATH" says; nil: as they are
}

// Create defines a new stream: its files are hashed and copied. They have to be
// still while that lasts.
func (l *Library) Create(ctx context.Context, id string, c Change) (*Stream, error) {
	return l.change(ctx, id, c, func(was *Stream) (*Stream, error) {
		if was != nil && !was.Deleted {
			return nil, fmt.Errorf("stream %s is there already: use ebbgate streams update, or another name", id)
		}
		return &Stream{ID: id, Created: time.Now().UTC()}, nil
	})
}

// Update makes the next version of a stream.
func (l *Library) Update(ctx context.Context, id string, c Change) (*Stream, error) {
	return l.change(ctx, id, c, func(was *Stream) (*Stream, error) {
		if was == nil || was.Deleted {
			return nil, fmt.Errorf("there is no stream %s: use ebbgate streams create", id)
		}
		next := *was
		return &next, nil
	})
}

// Delete takes a stream away.
func (l *Library) Delete(ctx context.Context, id string) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.Describe(id)
	if err != nil {
		return err
	}
	gone := &Stream{ID: id, Version: s.Version, Created: s.Created, Updated: time.Now().UTC(), Deleted: true, Files: []File{}}
	if err := l.define(gone); err != nil {
		return err
	}
	return l.tidy(gone)
}

// change makes the version that follows was.
func (l *Library) change(ctx context.Context, id string, c Change, begin func(was *Stream) (*Stream, error)) (*Stream, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("%q is no name of a stream: write 1 to %d letters, digits, '_' and '-'", id, maxStreamID)
	}
	if c.Description != nil && !validDescription(*c.Description) {
		return nil, fmt.Errorf("a description has at most %d characters, and no control characters", maxDescription)
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	was, err := l.read(id)
	if err != nil && !errors.Is(err, errNoStream) {
		return nil, err
	}
	next, err := begin(was)
	if err != nil {
		return nil, err
	}
	next.Version, next.Updated = 1, time.Now().UTC()
	if was != nil {
		next.Version = was.Version + 1
	}
	if next.Version > maxVersion {
		return nil, fmt.Errorf("stream %s has had %d versions, which is the last number: use another name", id, maxVersion)
	}
	if c.Description != nil {
		next.Description = *c.Description
	}
	switch {
	case c.Paths != nil:
		next.Files, err = l.snapshot(ctx, next, c.Paths)
	case len(next.Files) == 0:
		err = errors.New("there is no file: name some, or a folder that has some")
	default:
		err = l.keep(was, next)
	}
	if err != nil {
		return nil, err
	}
	if err := l.define(next); err != nil {
		return nil, err
	}
	return next, l.tidy(next)
}

const maxDescription = 2028

func validDescription(d string) bool {
	return len([]rune(d)) <= maxDescription && !strings.ContainsFunc(d, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd })
}

// define puts a definition into force, in one step that survives a power cut.
func (l *Library) define(s *Stream) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(l.definition(s.ID), append(b, '\n'))
}

// tidy removes what neither the present version nor answers under way need.
func (l *Library) tidy(s *Stream) error {
	entries, err := os.ReadDir(filepath.Join(l.dir, s.ID))
	if err != nil {
		return err
	}
	for _, e := range entries {
		v, err := strconv.Atoi(e.Name())
		unfinished := strings.HasPrefix(e.Name(), unfinishedPrefix)
		if unfinished || err == nil && (s.Deleted || v > s.Version || v < s.Version-1) {
			if err := os.RemoveAll(filepath.Join(l.dir, s.ID, e.Name())); err != nil {
				return fmt.Errorf("remove an old version: %w", err)
			}
		}
	}
	return nil
}

// lock keeps other commands from changing the library.
func (l *Library) lock(ctx context.Context) (unlock func(), err error) {
	if err := makeFolders(l.dir); err != nil {
		return nil, fmt.Errorf("make the folder of streams: %w", err)
	}
	f, err := os.Open(l.dir)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { _ = f.Close() }, nil // which unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		select {
		case <-poll.C:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		}
		break
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", l.dir, err), f.Close())
}
