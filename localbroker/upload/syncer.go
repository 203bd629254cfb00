package upload

import (
	"context"
	"os"
	"sync"

	"github.com/ebbgate/ebbgate/bridge"
)

// step is something that must become durable: what was written to a file,
// and what the shelf says of it. done is called once, in the order of the steps.
type step struct {
	file *os.File // written to; nil: none
	span span     // where
	puts []bridge.Put
	done func(error)
}

// syncer makes steps durable in groups: the files of a group are synced once
// each, then one batch goes to the shelf. The next group is gathered and synced
// while the shelf's commit of the last is under way.
//
// Messages come first: while there are any, files are written out in small pieces
// with a rest after each (pace.go).
type syncer struct {
	commit func(*bridge.Batch, func(bridge.Seq, error))
	sync   func(*os.File) error
	told   func(error) // of each group's files, nil when all are synced
	pacer  pacer

	mu     sync.Mutex
	list   []step
	wake   chan struct{} // capacity 1
	dirty  int64         // bytes that are written, or about to be, and not synced
	gentle bool          // there are messages
	clean  sync.Cond     // less is dirty
	ended  bool
	open   sync.WaitGroup // commits under way
}

const (
	// groupSteps bounds a group: a shelf's batch takes 2 MiB, a segment 64 bytes.
	groupSteps = 4096

	// filesAtOnce is how many files are synced beside each other: the disk gathers
	// what they have in common.
	filesAtOnce = 8
)

func newSyncer(commit func(*bridge.Batch, func(bridge.Seq, error)), messages func() int64, told func(error)) *syncer {
	y := &syncer{commit: commit, sync: syncData, told: told, pacer: pacer{messages: messages}, wake: make(chan struct{}, 1)}
	y.clean.L = &y.mu
	return y
}

// admit waits until so many bytes may be written to a file: while there are
// messages little is dirty at a time, because a sync writes all there is.
func (y *syncer) admit(n int64) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for y.gentle && y.dirty > 0 && y.dirty+n > yieldDirty && !y.ended {
		y.clean.Wait()
	}
	y.dirty += n
}

// settled takes back what admit has counted.
func (y *syncer) settled(n int64) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.dirty -= n
	y.clean.Broadcast()
}

// add asks for a step. It does not block.
func (y *syncer) add(s step) {
	y.mu.Lock()
	if y.ended {
		y.mu.Unlock()
		go s.done(errBusy) // the caller may hold what done needs
		return
	}
	y.list = append(y.list, s)
	y.mu.Unlock()
	select {
	case y.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends, and then does what waits.
func (y *syncer) run(ctx context.Context) {
	defer y.open.Wait()
	for {
		y.mu.Lock()
		n := min(len(y.list), groupSteps)
		group := y.list[:n:n]
		y.list = y.list[n:]
		if len(y.list) == 0 {
			y.list = nil
		}
		if n == 0 && ctx.Err() != nil {
			y.ended = true
			y.clean.Broadcast()
			y.mu.Unlock()
			return
		}
		y.mu.Unlock()
		if n > 0 {
			y.make(ctx, group)
			continue
		}
		select {
		case <-y.wake:
		case <-ctx.Done():
		}
	}
}

// make makes one group durable.
func (y *syncer) make(ctx context.Context, group []step) {
	failed := y.syncFiles(ctx, group)
	bytes := int64(0)
	for _, s := range group {
		bytes += s.span.length
	}
	y.settled(bytes)
	if bytes > 0 {
		y.told(anyOf(failed))
	}
	var batch bridge.Batch
	for _, s := range group {
		if s.file == nil || failed[s.file] == nil {
			batch.Puts = append(batch.Puts, s.puts...)
		}
	}
	landed := func(_ bridge.Seq, err error) {
		defer y.open.Done()
		for _, s := range group {
			if failure := failed[s.file]; s.file != nil && failure != nil {
				s.done(&syncError{failure})
			} else {
				s.done(err)
			}
		}
	}
	y.open.Add(1)
	if batch.Empty() {
		landed(0, nil)
		return
	}
	y.commit(&batch, landed)
}

// syncError says that the kernel did not confirm a file: what it has of it in
// memory may not be what is on the disk, and looks as if it were.
type syncError struct{ err error }

func (e *syncError) Error() string { return "sync: " + e.err.Error() }

func (e *syncError) Unwrap() error { return e.err }

func anyOf(failed map[*os.File]error) error {
	for _, err := range failed {
		return err
	}
	return nil
}

// syncFiles syncs the files of a group, and returns those that the kernel did
// not confirm.
func (y *syncer) syncFiles(ctx context.Context, group []step) map[*os.File]error {
	var files []*os.File
	written := map[*os.File]span{}
	for _, s := range group {
		if s.file == nil {
			continue
		}
		if all, known := written[s.file]; known {
			written[s.file] = all.with(s.span)
		} else {
			files = append(files, s.file)
			written[s.file] = s.span
		}
	}
	failed := map[*os.File]error{}
	gentle := y.pacer.yields()
	y.mu.Lock()
	y.gentle = gentle
	y.mu.Unlock()
	if gentle {
		for _, f := range files {
			if err := y.pacer.sync(ctx, f, written[f], y.sync); err != nil {
				failed[f] = err
			}
		}
		return failed
	}
	var mu sync.Mutex
	var running sync.WaitGroup
	places := make(chan struct{}, filesAtOnce)
	for _, f := range files {
		places <- struct{}{}
		running.Go(func() {
			if err := y.sync(f); err != nil {
				mu.Lock()
				failed[f] = err
				mu.Unlock()
			}
			<-places
		})
	}
	running.Wait()
	return failed
}
