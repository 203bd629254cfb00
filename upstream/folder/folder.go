package folder

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Folder is a bridge.FileTarget.
type Folder struct {
	dir    string
	layout upstream.FilePath
	log    *slog.Logger
	room   func(n int64) error // see Keep; nil: the disk may become full

	mu sync.Mutex
	at *os.Root // see again
}

// leftovers is where a copy grows; what is there at a start is removed. No folder
// of a client is called so: an id's % is escaped.
const leftovers = "%partial"

// Open makes the folder when it is not there.
func Open(o Options, log *slog.Logger) (*Folder, error) {
	l, err := parseLayout(o.Layout)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("folder of exported files: %w", err)
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("folder of exported files: %w", err)
	}
	if err := root.RemoveAll(leftovers); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("folder of exported files: %w", err)
	}
	if err := sweepChecks(o.Dir, time.Now()); err != nil {
		log.Warn("what a killed config check has left in the folder of exported files stays there", "error", err)
	}
	return &Folder{dir: o.Dir, at: root, layout: l, log: log}, nil
}

// Close gives the folder back.
func (d *Folder) Close() error { return d.root().Close() }

// Put implements bridge.FileTarget. A folder that somebody has removed is made again,
// and one that has been moved away gets no more files: what has its name does.
func (d *Folder) Put(ctx context.Context, f *bridge.File) (string, error) {
	if lost := d.again(); lost != nil {
		return "", lost
	}
	place, err := d.put(ctx, f)
	if errors.Is(err, os.ErrNotExist) {
		if lost := d.again(); lost != nil {
			return "", lost
		}
		place, err = d.put(ctx, f)
	}
	if errors.Is(err, syscall.ENAMETOOLONG) { // by a layout with text beside an id, or where the system has shorter ones
		return "", bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "%s in %s has a name that is longer than this file system takes; shorten file_transfer.export.layout, or have the device use shorter ids: %w", cut(d.layout(f)), d.dir, syscall.ENAMETOOLONG)
	}
	return place, err
}

// cut shortens a path for a person.
func cut(path string) string {
	const most = 100
	if len(path) <= most {
		return path
	}
	return strings.ToValidUTF8(path[:most], "") + "…"
}

func (d *Folder) put(ctx context.Context, f *bridge.File) (string, error) {
	place := d.layout(f)
	folder := path.Dir(place)
	if d.takenAway(f, place) {
		d.log.Warn("a file is taken as exported: an attempt before this one has put it into the folder, and somebody has taken it away since", "client", f.ClientID, "file", f.FileID, "place", place)
		return place, d.syncUp(".")
	}
	there, err := d.holds(f, place)
	if err != nil {
		return "", err
	}
	if err := d.root().MkdirAll(folder, 0o750); err != nil {
		return "", fmt.Errorf("export: %w", err)
	}
	if err := d.putManifest(f, place, there); err != nil {
		return "", fmt.Errorf("export the manifest: %w", err)
	}
	if there {
		return place, d.syncUp(folder)
	}
	if err := d.move(ctx, f, place); err != nil {
		return "", errors.Join(fmt.Errorf("export: %w", err), d.root().Remove(place+bridge.ManifestSuffix))
	}
	return place, d.syncUp(folder)
}

// putManifest writes what the device said beside its file. Beside one that was there
// already a manifest stays.
func (d *Folder) putManifest(f *bridge.File, place string, there bool) error {
	if there {
		if _, err := d.root().Lstat(place + bridge.ManifestSuffix); err == nil {
			return nil
		}
	}
	return d.write(place+bridge.ManifestSuffix, f.Manifest())
}

// URI is the address of a file's place, whether it is there yet or not.
func (d *Folder) URI(f *bridge.File) string { return uri(d.dir, d.layout(f)) }

// URIs says what [Folder.URI] would, of a folder that need not be there yet.
func URIs(o Options) (func(*bridge.File) string, error) {
	layout, err := parseLayout(o.Layout)
	if err != nil {
		return nil, err
	}
	return func(f *bridge.File) string { return uri(o.Dir, layout(f)) }, nil
}

func uri(dir, place string) string {
	where, err := filepath.Abs(filepath.Join(dir, filepath.FromSlash(place)))
	if err != nil { // of a folder that is given by a relative path, and nobody knows where we are
		return ""
	}
	return (&url.URL{Scheme: "file", Path: where}).String()
}

// move gets the file into its place: by its name where that is possible.
func (d *Folder) move(ctx context.Context, f *bridge.File, place string) error {
	if f.Path == "" {
		return d.copy(ctx, f, place)
	}
	file, err := os.Lstat(f.Path)
	if err == nil {
		if !d.sameDisk(file) {
			return d.copy(ctx, f, place)
		}
		if f.Moving != nil && !f.Moved { // only what is there: it says later that it was
			if err := f.Moving(); err != nil {
				return fmt.Errorf("note that the file is being moved: %w", err)
			}
		}
		err = os.Rename(f.Path, filepath.Join(d.dir, filepath.FromSlash(place)))
	}
	if errors.Is(err, syscall.EXDEV) {
		return d.copy(ctx, f, place)
	}
	return err
}

// sameDisk reports whether a file may be renamed into the folder, as far as can be
// said before it is tried.
func (d *Folder) sameDisk(file os.FileInfo) bool {
	folder, err := d.root().Stat(".")
	return err != nil || device(file) == device(folder)
}

// takenAway reports whether an attempt that a crash has ended had renamed the file into
// its place, from where somebody has moved it on, with its manifest or without: it was
// noted before, and the file is in neither place. As long as there is anything to make
// it of, it is made.
func (d *Folder) takenAway(f *bridge.File, place string) bool {
	if f.Path == "" || !f.Moved {
		return false
	}
	if _, err := os.Lstat(f.Path); !errors.Is(err, os.ErrNotExist) {
		return false
	}
	_, err := d.root().Lstat(place)
	return errors.Is(err, os.ErrNotExist)
}

// holds reports whether the file is in its place already, as an earlier attempt has left
// it. Another file is never replaced: its content may be nowhere else any more.
func (d *Folder) holds(f *bridge.File, place string) (bool, error) {
	switch info, err := d.root().Lstat(place); {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("export: %w", err)
	case !info.Mode().IsRegular() || info.Size() != f.Size:
		return false, d.taken(place)
	}
	in, err := d.root().Open(place)
	if err != nil {
		return false, fmt.Errorf("export: %w", err)
	}
	defer func() { _ = in.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return false, fmt.Errorf("export: %w", err)
	}
	if [sha256.Size]byte(h.Sum(nil)) != f.SHA256 {
		return false, d.taken(place)
	}
	return true, nil
}

// taken is that another file has the place.
func (d *Folder) taken(place string) error {
	return bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "another file is called so: folder %s has %s already, with another content, and nothing is replaced; give each gateway a folder of its own, or move that file away, then ebbgate files retry", d.dir, cut(place))
}

// copy writes the file beside its place, and checks what it has written.
func (d *Folder) copy(ctx context.Context, f *bridge.File, place string) error {
	if err := d.roomFor(f.Size); err != nil {
		return err
	}
	h := sha256.New()
	return d.create(place, func(out *os.File) error {
		n, err := io.Copy(io.MultiWriter(&steady{out: out, room: d.room}, h), f.Reader(ctx))
		switch {
		case err != nil:
			return err
		case n != f.Size || [sha256.Size]byte(h.Sum(nil)) != f.SHA256:
			return bridge.Errorf(bridge.OpExport, bridge.Corrupt, "what was read of %s is not what was verified", f.Name)
		}
		return nil
	})
}

func (d *Folder) write(place string, content []byte) error {
	return d.create(place, func(out *os.File) error {
		_, err := out.Write(content)
		return err
	})
}

// create makes a file that is there whole and synced, or not at all.
func (d *Folder) create(place string, fill func(*os.File) error) (err error) {
	if err := d.root().MkdirAll(leftovers, 0o750); err != nil {
		return err
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	name := path.Join(leftovers, hex.EncodeToString(b[:]))
	out, err := d.root().OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.root().Remove(name))
		}
	}()
	if err := fill(out); err != nil {
		return errors.Join(err, out.Close())
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return err
	}
	return d.root().Rename(name, place)
}

// syncUp makes the names of a folder and of those above it durable.
func (d *Folder) syncUp(folder string) error {
	for {
		f, err := d.root().Open(folder)
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("export: sync %s: %w", folder, err)
		}
		if folder == "." {
			return nil
		}
		folder = path.Dir(folder)
	}
}

// Remove implements bridge.FileTarget. Folders that are empty then go too.
func (d *Folder) Remove(_ context.Context, place string) error {
	if err := here(place); err != nil {
		return err
	}
	for _, name := range []string{place, place + bridge.ManifestSuffix} {
		if err := d.root().Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove an exported file: %w", err)
		}
	}
	for folder := path.Dir(place); folder != "."; folder = path.Dir(folder) {
		if d.root().Remove(folder) != nil {
			break // others are in it
		}
	}
	return nil
}

// Open implements bridge.FileTarget.
func (d *Folder) Open(_ context.Context, place string) (io.ReadCloser, error) {
	if err := here(place); err != nil {
		return nil, err
	}
	return d.root().Open(place)
}

// here refuses the places of other kinds of targets, which an earlier
// configuration had: no path of ours has a colon.
func here(place string) error {
	if strings.Contains(place, ":") {
		return bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "%s is not in the folder of files, where they go now", place)
	}
	return nil
}

// Abandon implements bridge.FileTarget. Nothing outlives a Put here, and what a
// crash has left goes when the folder is opened.
func (d *Folder) Abandon(context.Context, func(clientID, fileID string) bool) error { return nil }
