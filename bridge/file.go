package bridge

import (
	"context"
	"io"
)

// FileTarget is where files of devices go when they are whole. Its methods may be
// called concurrently, but Put not twice at a time for one file.
//
// What an error means is its [Kind]: [OfFile] and [OfTarget] say which of the two
// is to blame, and so whether another file would fare better. An error of neither
// says nothing of it.
type FileTarget interface {
	// Put makes the file whole in its place, durably, or fails and leaves nothing
	// of it there. It may be called again for a file that is there already, and
	// goes on where an earlier call was cut short, if it can. It returns the file's
	// place, for people and for the other methods.
	Put(ctx context.Context, f *File) (place string, err error)

	// Abandon gives up what calls of Put have begun, of an earlier process too, of
	// files that nobody will put any more: those for whose client and file id stays
	// returns false. It is called at the start and now and then.
	Abandon(ctx context.Context, stays func(clientID, fileID string) bool) error

	// Remove deletes a file and what belongs to it; that it is gone is no error.
	Remove(ctx context.Context, place string) error

	// Open reads a file that was put there. The context lasts until Close.
	Open(ctx context.Context, place string) (io.ReadCloser, error)
}

// File is a whole file on its way to a target. Client id, file id and name come
// from a device: they are bounded and printable or not, as the protocol has it, so
// only [EscapeID] makes a path's component of an id. A name is one.
type File struct {
	ClientID, FileID, Name string
	Size                   int64
	SHA256                 [32]byte

	// Meta is what the device said of the file: the JSON object of its init, with
	// the checksum.
	Meta []byte

	// Path is a file that holds exactly the content and may be taken by renaming
	// it; empty when there is none.
	Path string

	// Moving is called before Path is renamed, and no rename follows an error: it notes
	// durably that Path may be gone from now on. nil: nobody does.
	Moving func() error

	// Moved is that it was noted, by an attempt that a crash may have ended: where Path
	// is no more, that attempt has renamed it.
	Moved bool

	// Content has Size bytes. It must not be trusted to be what was verified: a
	// target compares what it has read with SHA256 before it says that it is done.
	Content io.ReaderAt

	// Unsent is Content for who reads it to compare and not to send: what is read of
	// Content is shown, and counted, as sent. nil: nobody looks.
	Unsent io.ReaderAt
}

// ManifestSuffix ends the name of what stands beside a file and is about it. No
// file's own name ends so.
const ManifestSuffix = ".MANIFEST.json"

// Manifest is the content of that: EMQX's.
func (f *File) Manifest() []byte {
	return append(append([]byte(`["filemeta",1,`), f.Meta...), ']')
}

// Reader reads the content from its beginning. It ends with ctx.
func (f *File) Reader(ctx context.Context) io.Reader {
	return until{ctx, io.NewSectionReader(f.Content, 0, f.Size)}
}

// Compared reads length bytes of the content from an offset, which are not sent. It
// ends with ctx.
func (f *File) Compared(ctx context.Context, offset, length int64) io.Reader {
	from := f.Content
	if f.Unsent != nil {
		from = f.Unsent
	}
	return until{ctx, io.NewSectionReader(from, offset, length)}
}

// until is a reader that ends with its context.
type until struct {
	context.Context
	io.Reader
}

// Read implements io.Reader.
func (u until) Read(b []byte) (int, error) {
	if err := u.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(b)
}

// OpExport is the Op of what a FileTarget fails with.
const OpExport = "export"

// OfFile reports whether an error of a [FileTarget] is of that file, and will be
// the same however often it is tried.
func OfFile(err error) bool {
	switch KindOf(err) {
	case TooLarge, TopicInvalid, PayloadInvalid, Corrupt:
		return true
	}
	return false
}

// OfTarget reports whether an error of a [FileTarget] is of the target: each other
// file would fail as well.
func OfTarget(err error) bool {
	switch KindOf(err) {
	case NotAuthorized, Full, Unavailable:
		return true
	}
	return false
}
