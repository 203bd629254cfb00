package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// Stream is one version of a stream: a few files under numbers. It is immutable.
type Stream struct {
	ID          string    `json:"stream"`
	Version     int       `json:"version"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"`
	Deleted     bool      `json:"deleted,omitempty"` // what is left of it is its version: the next one goes on from there
	Files       []File    `json:"files"`
}

// File is one file of a stream.
type File struct {
	ID     int    `json:"id"`
	Name   string `json:"name,omitempty"` // where it came from; devices do not see it
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // hexadecimal
}

// Size is that of all files.
func (s *Stream) Size() (n int64) {
	for _, f := range s.Files {
		n += f.Size
	}
	return n
}

// edition tells a stream from every other that could be told from it, such as one of
// the same version: a cloud that deletes a stream and makes it anew may begin to count
// anew.
func (s *Stream) edition() string {
	b := fmt.Appendf(nil, "%d %q", s.Version, s.Description)
	for _, f := range s.Files {
		b = fmt.Appendf(b, " %d %d %s", f.ID, f.Size, f.SHA256)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// key is what a chunk of the stream is known by.
func (s *Stream) key(file int, number int64) chunkKey {
	return chunkKey{s.ID, s.Version, s.edition(), file, number}
}

// file finds a file by its id, nil when there is none.
func (s *Stream) file(id int) *File {
	for i := range s.Files {
		if s.Files[i].ID == id {
			return &s.Files[i]
		}
	}
	return nil
}

// chunkSize is in what pieces content is fetched, kept and checked.
const chunkSize = 64 << 10

// chunks is how many chunks a file has.
func (f *File) chunks() int64 { return (f.Size + chunkSize - 1) / chunkSize }

// chunkLen is the length of a chunk: the last one is shorter.
func (f *File) chunkLen(n int64) int { return int(min(chunkSize, f.Size-n*chunkSize)) }

// source is where streams come from. Each finds the present version by its stream
// method, whose error is errNoStream when there is none, errAway when that cannot be
// known now. Its methods may be called concurrently.
type source interface {
	// chunk reads a chunk of a file of that version, which the caller must not
	// write to. The error is errVersion when there is another version now,
	// errAway when it cannot be had now, a [Fault] what the cloud says of it; any other
	// is a fault on this side.
	chunk(ctx context.Context, s *Stream, f *File, n int64) ([]byte, error)
}

var (
	errNoStream = errors.New("there is no such stream")
	errAway     = errors.New("the cloud cannot be reached, and this part is not kept here")
	errVersion  = errors.New("the stream has another version now")
)

// readBlock puts one block together from chunks.
func readBlock(ctx context.Context, from source, s *Stream, f *File, size, number int) ([]byte, error) {
	at := int64(size) * int64(number)
	left := int(min(int64(size), f.Size-at))
	if left <= 0 {
		return nil, io.ErrUnexpectedEOF
	}
	var out []byte
	for left > 0 {
		n := at / chunkSize
		c, err := from.chunk(ctx, s, f, n)
		if err != nil {
			return nil, err
		}
		if len(c) != f.chunkLen(n) {
			return nil, io.ErrUnexpectedEOF
		}
		c = c[at-n*chunkSize:]
		c = c[:min(len(c), left)]
		if out == nil && len(c) == left {
			return c, nil // the most: no copy
		}
		out = append(out, c...)
		at, left = at+int64(len(c)), left-len(c)
	}
	return out, nil
}
