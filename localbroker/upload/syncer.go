package upload

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/ebbgate/ebbgate/bridge"
)

// step is something that must become durable: what is to be written to a file,
// and what the shelf says of it then. done is called once, in the order of the
// steps of a client.
type step struct {
	client string
	file   *segmentFile // nil: none
	at     int64        // where in it
	data   *load        // left when it has been written
	puts   []bridge.Put
	done   func(error)
}

// shelved is about how much a step takes of a shelf's batch.
func (s *step) shelved() (n int) {
	const lengths = 16
	for _, p := range s.puts {
		n += lengths + len(p.Namespace) + len(p.Key) + len(p.Value)
	}
	return n
}

// syncer makes steps durable in groups: what a group brings of a file is written
// in as few system calls as possible, each file is synced once, then one batch goes
// to the shelf. The next group is gathered, written and synced while the shelf's
// commit of the last is under way.
//
// Messages come first: while there are any, files are written in small pieces
// with a rest after each (pace.go).
type syncer struct {
	commit func(*bridge.Batch, func(bridge.Seq, error))
	write  func(*segmentFile, stretch) error
	sync   func(*os.File) error
	told   func(error) // of each group's files, nil when all are synced
	pacer  pacer

	mu      sync.Mutex
	turns   turns
	wake    chan struct{} // capacity 1
	waiting int64         // memory of what is to be written
	gentle  bool          // there are messages
	room    sync.Cond     // less is waiting
	ended   bool
	open    sync.WaitGroup // commits under way
}

const (
	// groupSteps and groupPuts bound a group: a shelf's batch takes 2 MiB, of which a
	// segment needs 64 bytes, and what init says of a file up to 16 KiB. One that is
	// too large would fail with all that is in it, of whatever device.
	groupSteps = 4096
	groupPuts  = 1 << 20

	// waitingBytes is how much memory what is to be written takes at most, groupBytes
	// how much of it makes a group, and stretchBytes what is written by one call: a
	// disk is quick when it has much to do at a time.
	waitingBytes = 16 << 20
	groupBytes   = 8 << 20
	stretchBytes = 4 << 20

	// filesAtOnce is how many files are written and synced beside each other: the
	// disk gathers what they have in common.
	filesAtOnce = 8
)

func newSyncer(commit func(*bridge.Batch, func(bridge.Seq, error)), messages func() int64, told func(error)) *syncer {
	y := &syncer{commit: commit, write: (*segmentFile).write, sync: syncData, told: told, pacer: pacer{messages: messages}, wake: make(chan struct{}, 1)}
	y.room.L = &y.mu
	return y
}

// admit waits until there is memory for so many bytes that are to be written.
// While there are messages little is written at a time, so less may wait for it: a
// device that is not read is not answered either.
func (y *syncer) admit(n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for y.waiting > 0 && y.waiting+roomOf(n) > y.mostLocked(waitingBytes, yieldWaiting) && !y.ended {
		y.room.Wait()
	}
	y.waiting += roomOf(n)
}

// settled takes back what admit has counted.
func (y *syncer) settled(n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.waiting -= roomOf(n)
	y.room.Broadcast()
}

// mostLocked is the bound that counts now.
func (y *syncer) mostLocked(alone, yielding int64) int64 {
	if y.gentle {
		return yielding
	}
	return alone
}

// add asks for a step. It does not block.
func (y *syncer) add(s step) {
	y.mu.Lock()
	if y.ended {
		y.mu.Unlock()
		go s.done(errBusy) // the caller may hold what done needs
		return
	}
	y.turns.add(s)
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
		group := y.turns.take(y.mostLocked(groupBytes, yieldGroup))
		if len(group) == 0 && ctx.Err() != nil {
			y.ended = true
			y.room.Broadcast()
			y.mu.Unlock()
			return
		}
		y.mu.Unlock()
		if len(group) > 0 {
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
	failed := y.writeFiles(ctx, group)
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
				s.done(failure)
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

// writeError says that bytes could not be written.
type writeError struct{ err error }

func (e *writeError) Error() string { return "write: " + e.err.Error() }

func (e *writeError) Unwrap() error { return e.err }

// tell says whether the kernel has confirmed files, if it was asked to.
func (y *syncer) tell(files []*segmentFile, failed map[*segmentFile]error) {
	asked := false
	for _, f := range files {
		if err, unconfirmed := errors.AsType[*syncError](failed[f]); unconfirmed {
			y.told(err)
			return
		}
		asked = asked || failed[f] == nil
	}
	if asked {
		y.told(nil)
	}
}

// writeFiles writes and syncs what a group brings of files, and returns those that
// could not be written, or that the kernel did not confirm.
func (y *syncer) writeFiles(ctx context.Context, group []step) map[*segmentFile]error {
	var files []*segmentFile
	steps := map[*segmentFile][]step{}
	for _, s := range group {
		if s.file == nil {
			continue
		}
		if steps[s.file] == nil {
			files = append(files, s.file)
		}
		steps[s.file] = append(steps[s.file], s)
	}
	failed := map[*segmentFile]error{}
	defer func() { y.tell(files, failed) }()
	gentle := y.pacer.yields()
	y.mu.Lock()
	y.gentle = gentle
	y.mu.Unlock()
	if !gentle {
		y.each(files, failed, func(f *segmentFile) error { return y.writeFile(f, steps[f]) })
		return failed
	}
	for _, f := range files {
		if err := y.writeGently(ctx, f, steps[f]); err != nil {
			failed[f] = err
		}
	}
	_ = y.pacer.piece(ctx, func() error { // together: the file system commits once for all
		y.each(files, failed, func(f *segmentFile) error { return confirmed(y.sync(f.File)) })
		return nil
	})
	return failed
}

// each does something with the files that have not failed, beside each other.
func (y *syncer) each(files []*segmentFile, failed map[*segmentFile]error, do func(*segmentFile) error) {
	var mu sync.Mutex
	var running sync.WaitGroup
	places := make(chan struct{}, filesAtOnce)
	for _, f := range files {
		mu.Lock()
		skip := failed[f] != nil
		mu.Unlock()
		if skip {
			continue
		}
		places <- struct{}{}
		running.Go(func() {
			if err := do(f); err != nil {
				mu.Lock()
				failed[f] = err
				mu.Unlock()
			}
			<-places
		})
	}
	running.Wait()
}

// writeFile writes steps of one file and syncs it.
func (y *syncer) writeFile(f *segmentFile, steps []step) error {
	defer y.written(steps)
	for _, s := range stretches(steps, stretchBytes) {
		if err := y.write(f, s); err != nil {
			return &writeError{err}
		}
	}
	return confirmed(y.sync(f.File))
}

// writeGently writes steps of one file piece by piece. Each is let go of as soon as
// it is written, so that what comes next, and takes the processor, comes as evenly.
func (y *syncer) writeGently(ctx context.Context, f *segmentFile, steps []step) error {
	at := 0
	defer func() { y.written(steps[at:]) }()
	for _, s := range stretches(steps, yieldPiece) {
		err := y.pacer.piece(ctx, func() error {
			if err := y.write(f, s); err != nil {
				return &writeError{err}
			}
			return confirmed(writeOut(f.File, s.at, s.length))
		})
		if err != nil {
			return err
		}
		done := at
		for done < len(steps) && steps[done].at+int64(len(steps[done].data.b)) <= s.at+s.length {
			done++
		}
		y.written(steps[at:done])
		at = done
	}
	return nil
}

// written lets go of what steps have brought.
func (y *syncer) written(steps []step) {
	for _, s := range steps {
		y.settled(len(s.data.b))
		s.data.leave()
	}
}

// confirmed is the error of a sync.
func confirmed(err error) error {
	if err != nil {
		return &syncError{err}
	}
	return nil
}
