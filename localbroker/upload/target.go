package upload

import (
	"context"
	"errors"
	"io"
	"os"
	"sort"
	"time"
)

// The exporter tries the queue in order, and waits longer and longer while the
// target takes nothing.
const (
	exportFirst = 200 * time.Millisecond
	exportLast  = 30 * time.Second

	// passOver is after how many attempts in a row a file no longer holds up
	// those behind it: it, not the target, is what fails.
	passOver = 5
)

// addressed is a target whose files somebody without credentials can read for a
// while.
type addressed interface {
	// Address is a URL of a file. It may be called concurrently.
	Address(ctx context.Context, place string) (string, error)
}

// tailed is a target whose files can be read from a byte on without those before it
// being fetched.
type tailed interface {
	// OpenFrom is Open from a byte of the file on, and of so many, which are there; 0 is
	// to the end. It may be called concurrently.
	OpenFrom(ctx context.Context, place string, from, length int64) (io.ReadCloser, error)
}

// openFrom opens an exported file at a byte, to read so many, 0 for the rest.
func (s *Service) openFrom(ctx context.Context, place string, from, length int64) (io.ReadCloser, error) {
	if s.tail != nil && (from > 0 || length > 0) {
		return s.tail.OpenFrom(ctx, place, from, length)
	}
	in, err := s.deps.Target.Open(ctx, place)
	if err == nil {
		if err = skip(in, from); err != nil {
			return nil, errors.Join(err, in.Close())
		}
	}
	return in, err
}

// skip leaves n bytes out.
func skip(in io.Reader, n int64) error {
	if n == 0 {
		return nil
	}
	if s, ok := in.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, in, n)
	return err
}

// content is a file that is put together of segments.
type content struct {
	data *os.File // nil: the target has taken it, or it is lost
	plan []piece
	ease *ease
}

// ReadAt implements io.ReaderAt.
func (c content) ReadAt(b []byte, at int64) (n int, err error) {
	if c.data == nil {
		return 0, os.ErrNotExist
	}
	defer func() { c.ease.took(n) }()
	for i := sort.Search(len(c.plan), func(i int) bool { return c.plan[i].end() > at }); n < len(b); i++ {
		if i == len(c.plan) {
			return n, io.EOF
		}
		p := c.plan[i]
		within := at + int64(n) - p.offset
		piece := b[n:min(int64(len(b)), int64(n)+p.length-within)]
		read, err := c.data.ReadAt(piece, p.at+within)
		n += read
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
