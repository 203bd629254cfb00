package upload

import (
	"context"
	"slices"
	"sync"
)

// exportsAtOnce is how many files are exported at a time: each takes connections and
// descriptors, and memory to read the file with.
const exportsAtOnce = 4

// berths are the places for files that are being exported, or read for their checksums. Who finds none waits: the
// clients in turn, and the files of each in the order of their fins, so that one which
// finishes many files together holds up nobody else's.
type berths struct {
	places int

	mu    sync.Mutex
	taken int
	of    map[string][]chan struct{} // who waits, of each client
	order []string                   // the clients that wait; the first is next
}

// take waits for a place. It fails when ctx ends.
func (b *berths) take(ctx context.Context, client string) error {
	b.mu.Lock()
	if b.taken < b.places {
		b.taken++
		b.mu.Unlock()
		return nil
	}
	mine := b.lineUpLocked(client, len(b.of[client]))
	b.mu.Unlock()
	return b.await(ctx, client, mine)
}

// pass gives a place to the next of the other clients, if any waits, and waits for one
// again, before what else the client has. When it fails there is none.
func (b *berths) pass(ctx context.Context, client string) error {
	b.mu.Lock()
	if len(b.order) == 0 || len(b.order) == 1 && b.order[0] == client {
		b.mu.Unlock()
		return nil
	}
	mine := b.lineUpLocked(client, 0)
	b.leaveLocked()
	b.mu.Unlock()
	return b.await(ctx, client, mine)
}

// lineUpLocked has one wait, behind so many of the same client.
func (b *berths) lineUpLocked(client string, behind int) chan struct{} {
	mine := make(chan struct{})
	if b.of == nil {
		b.of = map[string][]chan struct{}{}
	}
	if len(b.of[client]) == 0 {
		b.order = append(b.order, client)
	}
	b.of[client] = slices.Insert(b.of[client], behind, mine)
	return mine
}

func (b *berths) await(ctx context.Context, client string, mine chan struct{}) error {
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
		b.withdraw(client, mine)
		return ctx.Err()
	}
}

// leave gives a place to who is next.
func (b *berths) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveLocked()
}

func (b *berths) leaveLocked() {
	if len(b.order) == 0 {
		b.taken--
		return
	}
	client := b.order[0]
	line := b.of[client]
	close(line[0])
	b.order = b.order[1:]
	if line = line[1:]; len(line) == 0 {
		delete(b.of, client)
		return
	}
	b.of[client] = line
	b.order = append(b.order, client)
}

// withdraw ends the waiting of one who does not want a place any more, and gives it on
// if it has come meanwhile.
func (b *berths) withdraw(client string, mine chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	line := b.of[client]
	for i, c := range line {
		if c != mine {
			continue
		}
		if line = append(line[:i:i], line[i+1:]...); len(line) > 0 {
			b.of[client] = line
			return
		}
		delete(b.of, client)
		for at, name := range b.order {
			if name == client {
				b.order = append(b.order[:at:at], b.order[at+1:]...)
				return
			}
		}
	}
	b.leaveLocked()
}
