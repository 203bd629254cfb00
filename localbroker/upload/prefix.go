package upload

import (
	"crypto/sha256"
	"hash"
	"sync"
	"sync/atomic"
)

// prefix is the checksum of a file's beginning, taken while its segments come
// in order: then fin need not read the file again. What has been written to
// a place of the transfer's file is never written over, so the checksum stays
// true. It does not outlive the process.
//
// It is taken beside the writing, because it takes as long as that.
type prefix struct {
	mu      sync.Mutex
	h       hash.Cloner
	length  int64     // hashed, or waiting for it
	waiting []*load   // in order
	working bool      // a goroutine hashes what waits
	idle    sync.Cond // it has ended
	broken  bool      // the disk has not confirmed some of it
}

// hashBehind bounds the bytes that wait for their hash, of all transfers.
const hashBehind = 16 << 20

// add takes what belongs to an offset, and lets go of it when it is hashed. It
// counts only if it is the next, and its place in the transfer's file is the same.
// behind counts the bytes of all transfers that wait.
func (p *prefix) add(behind *atomic.Int64, offset, place int64, data *load) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.h == nil {
		p.h = sha256.New().(hash.Cloner)
		p.idle.L = &p.mu
	}
	n := int64(len(data.b))
	late := behind.Load()+n > hashBehind
	if late {
		p.catchUpLocked()
	}
	if offset != place || place != p.length || p.broken {
		data.leave()
		return
	}
	p.length += n
	if late {
		_, _ = p.h.Write(data.b) // never fails
		data.leave()
		return
	}
	behind.Add(n)
	p.waiting = append(p.waiting, data)
	if !p.working {
		p.working = true
		go p.work(behind)
	}
}

// work hashes what waits.
func (p *prefix) work(behind *atomic.Int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) > 0 {
		data := p.waiting[0]
		p.waiting[0] = nil
		p.waiting = p.waiting[1:]
		p.mu.Unlock()
		_, _ = p.h.Write(data.b) // never fails
		behind.Add(-int64(len(data.b)))
		data.leave()
		p.mu.Lock()
	}
	p.waiting, p.working = nil, false
	p.idle.Broadcast()
}

func (p *prefix) catchUpLocked() {
	for p.working {
		p.idle.Wait()
	}
}

// distrust makes it of no use: fin reads the file, from the disk.
func (p *prefix) distrust() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
}

func (p *prefix) distrusted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// begin is a hash to go on with, and the rest of a plan. A plan whose first
// pieces stand where they belong, and end where the prefix does, goes on from
// there.
func (p *prefix) begin(plan []piece) (hash.Hash, []piece) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUpLocked()
	for i, piece := range plan {
		if p.broken || piece.at != piece.offset || piece.end() > p.length {
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
