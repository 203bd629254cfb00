package upload

import (
	"context"
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
