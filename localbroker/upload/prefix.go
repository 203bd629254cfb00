package upload

import (
	"crypto/sha256"
	"hash"
	"sync"
)

// prefix is the checksum of a file's beginning, taken while its segments come
// in order: then fin need not read the file again. What has been written to
// a place of the transfer's file is never written over, so the checksum stays
// true. It does not outlive the process.
type prefix struct {
	mu     sync.Mutex
	h      hash.Cloner
	length int64
}

// add takes what was written at a place, if it is the next.
func (p *prefix) add(at int64, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at != p.length {
		return
	}
	if p.h == nil {
		p.h = sha256.New().(hash.Cloner)
	}
	_, _ = p.h.Write(b) // never fails
	p.length += int64(len(b))
}

// begin is a hash to go on with, and the rest of a plan. A plan whose first
// pieces stand where they belong, and end where the prefix does, goes on from
// there.
func (p *prefix) begin(plan []piece) (hash.Hash, []piece) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, piece := range plan {
		if piece.at != piece.offset || piece.end() > p.length {
			break
		}
		if piece.end() == p.length {
			if h, err := p.h.Clone(); err == nil {
				return h, plan[i+1:]
			}
		}
	}
	return sha256.New(), plan
}
