package upload

import (
	"cmp"
	"context"
	"hash/crc32"
	"io"
	"slices"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/bridge"
)

const (
	// readOver is how much is read between two pieces: more costs more than to open the
	// file anew.
	readOver = 64 << 10

	// mostLooks is into how many places of a file that was finished before it is looked:
	// a device that has lost some answers sends again what it had on its way.
	mostLooks = 8

	// looksRate and looksBurst are how often it is looked, of a client, into files that
	// are elsewhere: each place is a request that is paid for, and each MiB is another, of
	// a link that is. A fin of a few bytes asks for it.
	looksRate  = rate.Limit(0.1)
	looksBurst = 64
)

// stretchOf is pieces of a file that are read at once.
type stretchOf struct {
	from, to int64
	pieces   []piece
}

// pacedReader reads what crosses a link at the pace of files. What has been read has
// crossed it, so that the pace comes after it, in small pieces: a store hangs up on who
// is silent for long.
type pacedReader struct {
	io.ReadCloser
	ctx  context.Context
	pace bridge.FilePace
}

// pacedRead is the most that is read at once.
const pacedRead = 8 << 10

// Read implements io.Reader.
func (r *pacedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p[:min(len(p), pacedRead)])
	if n > 0 && err == nil {
		err = r.pace.Wait(r.ctx, n)
	}
	return n, err
}

// partOf finds out whether all segments are pieces of the file before: errIncomplete
// when they are not, or it would take too much to know, and errBusy when its client has
// to wait for that.
//
// While a window or a budget holds exports back nothing is read over their link:
// errIncomplete as well. A device must have its answer in time, a window may be shut for
// days, and who has sent the whole file again is answered by what is here.
func (s *Service) partOf(t *transfer, before *prior) error {
	s.mu.Lock()
	var pieces []piece
	for at, where := range t.segments {
		pieces = append(pieces, piece{at, where})
	}
	s.mu.Unlock()
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.offset, b.offset) })
	known := planSum(pieces)
	if t.foreign == known {
		return errIncomplete
	}
	list, cost := stretchesOf(pieces)
	if len(list) > mostLooks || cost > looksBurst || len(list) > 0 && list[len(list)-1].to > before.size {
		return errIncomplete
	}
	elsewhere := before.queued == nil && s.tail != nil && cost > 0
	if elsewhere && s.held() != "" {
		return errIncomplete
	}
	if elsewhere && !s.looks.take(t.client, int(cost)) {
		return errBusy
	}
	for _, l := range list {
		switch in, err := l.isIn(before); {
		case s.ending.Err() != nil:
			return errBusy
		case err != nil:
			return errIncomplete
		case !in:
			t.foreign = known
			return errIncomplete
		}
	}
	return nil
}

// stretchesOf puts pieces together that are read at once, and says what that costs. Of
// pieces that overlap there are too many: nothing is as simple as sending again.
func stretchesOf(pieces []piece) (list []stretchOf, cost int64) {
	const each = 1 << 20
	for _, p := range pieces {
		n := len(list)
		switch {
		case n > 0 && p.offset < list[n-1].to:
			return make([]stretchOf, mostLooks+1), 0
		case n > 0 && p.offset-list[n-1].to <= readOver: // two commands of a few bytes are not to fetch all that is between them
			list[n-1].to = p.end()
			list[n-1].pieces = append(list[n-1].pieces, p)
		default:
			list = append(list, stretchOf{p.offset, p.end(), []piece{p}})
		}
	}
	for _, l := range list {
		cost += 1 + (l.to-l.from)/each
	}
	return list, cost
}

// isIn reports whether the pieces are those of the file before. A device that has lost
// an answer sends the end again, over a link that costs it would be the whole.
func (l *stretchOf) isIn(before *prior) (bool, error) {
	in, err := before.open(l.from, l.to-l.from)
	if err != nil {
		return false, err
	}
	defer func() { _ = in.Close() }() // only read
	h, at := crc32.New(castagnoli), l.from
	for _, p := range l.pieces {
		h.Reset()
		if _, err := io.CopyN(io.Discard, in, p.offset-at); err != nil {
			return false, err
		}
		if _, err := io.CopyN(h, in, p.length); err != nil || h.Sum32() != p.crc {
			return false, err
		}
		at = p.end()
	}
	return true, nil
}
