package filetransfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"

	"github.com/ebbgate/ebbgate/bridge"
)

// flight is a segment whose answer is awaited.
type flight struct {
	offset int64
	length int
	*command
}

// mostTries is how often a segment is sent that the other side finds damaged.
const mostTries = 5

// segments sends what follows what was taken, some in flight, and notes what is
// taken. It returns once nothing is in flight any more.
func (t *Target) segments(ctx context.Context, f *bridge.File, p *progress, id string) (err error) {
	t.mu.Lock()
	size := t.pieces
	t.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var out []flight
	defer func() {
		cancel()
		for _, fl := range out {
			_ = fl.wait(ctx, patience) // what is not known to be taken goes again
		}
		if p.Taken != p.kept {
			t.keep(p)
		}
		t.mu.Lock()
		t.pieces = size
		t.mu.Unlock()
	}()
	tries := 0
	for at := p.Taken; p.Taken < f.Size; {
		if at < f.Size && len(out) < t.room() {
			n := int(min(int64(size.next(t.link.Largest())), f.Size-at))
			k, err := t.segment(ctx, f, id, at, n)
			if err != nil {
				return lost(&size, err)
			}
			out = append(out, flight{at, n, k})
			at += int64(n)
			continue
		}
		first := out[0]
		err := first.wait(ctx, patience)
		if said, ok := errors.AsType[*refusal](err); ok && passing(said) && tries < mostTries {
			// Those behind it may have been taken: they go again all the same, since
			// the next ones may be of another size.
			tries++
			size.lost()
			for _, fl := range out[1:] {
				_ = fl.wait(ctx, patience)
			}
			out, at = nil, p.Taken
			continue
		}
		if err != nil {
			return lost(&size, err)
		}
		out, tries = out[1:], 0
		size.took(first.length)
		if p.Taken += int64(first.length); p.Taken-p.kept >= keepEvery || p.Taken == f.Size {
			t.keep(p)
		}
	}
	return nil
}

// room is how many segments may be in flight: while messages wait it is one.
func (t *Target) room() int {
	if t.pace.Yields() {
		return 1
	}
	return inFlight
}

// lost notes that a connection ended on segments of a size.
func lost(size *pieces, err error) error {
	if errors.Is(err, errDown) || errors.Is(err, errSilent) {
		size.lost()
	}
	return err
}

// passing reports whether a refused segment may be taken when it comes again, and
// smaller: it was damaged, or it was too large.
func passing(said *refusal) bool {
	return said.word == wordMismatch || said.code == codeTooLarge && said.word == ""
}

// segment sends the n bytes at an offset, with their checksum.
func (t *Target) segment(ctx context.Context, f *bridge.File, id string, at int64, n int) (*command, error) {
	if err := t.pace.Wait(ctx, n); err != nil {
		return nil, err
	}
	payload := make([]byte, n)
	if _, err := f.Content.ReadAt(payload, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, bridge.Errorf(bridge.OpExport, bridge.Internal, "read the file: %w", err)
	}
	sum := sha256.Sum256(payload)
	return t.commands.send(ctx, "$file/"+id+"/"+strconv.FormatInt(at, 10)+"/"+hex.EncodeToString(sum[:]), payload)
}
