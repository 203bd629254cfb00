package s3

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// meteredPace lets so many bytes go, and then none.
type meteredPace struct{ left atomic.Int64 }

func (m *meteredPace) Wait(ctx context.Context, n int) error {
	if m.left.Add(-int64(n)) < 0 {
		return bridge.Errorf(bridge.OpExport, bridge.Unavailable, "%w: a window", bridge.ErrHeld)
	}
	return ctx.Err()
}

func (m *meteredPace) Yields() bool { return false }

// A window that closes ends an attempt without blaming anybody; when it opens the
// parts that are missing are sent.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	pace := new(meteredPace)
	r.pace = pace
	small, large := file("c1", "f1", "a.bin", 100_000), file("c1", "f2", "a.bin", 11*mib)
	for _, c := range []struct {
		f    *bridge.File
		left int64
	}{{small, 50_000}, {large, 7 * mib}} {
		pace.left.Store(c.left)
		if _, err := r.Put(t.Context(), c.f); !errors.Is(err, bridge.ErrHeld) || !bridge.OfTarget(err) {
			t.Errorf("%d of %d bytes may go: %v", c.left, c.f.Size, err)
		}
	}
	pace.left.Store(1 << 30)
	r.operations()
	r.put(large)
	r.wantOperations("ListParts", "UploadPart", "UploadPart", "HeadObject", "CompleteMultipartUpload")
	r.put(small)
	r.wantObject("c1/f1/a.bin", small)
	r.wantObject("c1/f2/a.bin", large)
	r.wantClean()
}

// sentBytes counts what is read to be sent.
type sentBytes struct {
	io.ReaderAt
	n atomic.Int64
}

// ReadAt implements io.ReaderAt.
func (s *sentBytes) ReadAt(b []byte, at int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(b, at)
	s.n.Add(int64(n))
	return n, err
}

// What is read for its hash is not sent: an operator sees each byte once.
func TestSentOnce(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	for id, size := range map[string]int{"f1": 3893, "f2": 11*mib + 5} {
		f := file("c1", id, "a.bin", size)
		sent := &sentBytes{ReaderAt: f.Content}
		f.Content, f.Unsent = sent, f.Content
		if r.put(f); sent.n.Load() != f.Size {
			t.Errorf("%d of %d bytes are counted", sent.n.Load(), f.Size)
		}
	}
}
