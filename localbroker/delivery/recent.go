package delivery

import (
	"container/list"
	"sync"
)

// chunkKey is what a chunk is known by. The version is in it and the edition, so that
// none mixes with another.
type chunkKey struct {
	stream  string
	version int
	edition string
	file    int
	number  int64
}

// keepRecent is how many chunks are in memory: devices that download the same file
// are near each other, and ask for many blocks of one chunk.
const keepRecent = 64

// recent keeps the chunks that were used last. They are not written to.
type recent struct {
	mu    sync.Mutex
	order list.List // of recentChunk, the latest first
	byKey map[chunkKey]*list.Element
}

type recentChunk struct {
	key  chunkKey
	data []byte
}

func newRecent() *recent { return &recent{byKey: map[chunkKey]*list.Element{}} }

func (r *recent) get(k chunkKey) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.byKey[k]
	if !ok {
		return nil
	}
	r.order.MoveToFront(e)
	return e.Value.(recentChunk).data
}

func (r *recent) put(k chunkKey, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.byKey[k]; ok {
		r.order.MoveToFront(e)
		return
	}
	r.byKey[k] = r.order.PushFront(recentChunk{k, data})
	if r.order.Len() > keepRecent {
		last := r.order.Back()
		delete(r.byKey, last.Value.(recentChunk).key)
		r.order.Remove(last)
	}
}
