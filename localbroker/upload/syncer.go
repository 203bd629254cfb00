package upload

import (
	"context"
	"os"
	"sync"
	"syscall"

	"github.com/ebbgate/ebbgate/bridge"
)

// step is something that must become durable: what was written to a file,
// and what the shelf says of it. done is called once, in the order of the steps.
type step struct {
	file *os.File // written to; nil: none
	puts []bridge.Put
	done func(error)
}

// syncer makes steps durable in groups: the files of a group are synced once
// each, then one batch goes to the shelf. The next group is gathered and synced
// while the shelf's commit of the last is under way.
type syncer struct {
	commit func(*bridge.Batch, func(bridge.Seq, error))

	mu    sync.Mutex
	list  []step
	wake  chan struct{} // capacity 1
	ended bool
	open  sync.WaitGroup // commits under way
}

// groupSteps bounds a group: a shelf's batch takes 2 MiB, a segment 64 bytes.
const groupSteps = 4096

// filesAtOnce is how many files are synced beside each other: the disk gathers
// what they have in common.
const filesAtOnce = 8

func newSyncer(commit func(*bridge.Batch, func(bridge.Seq, error))) *syncer {
	return &syncer{commit: commit, wake: make(chan struct{}, 1)}
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
			y.mu.Unlock()
			return
		}
		y.mu.Unlock()
		if n > 0 {
			y.make(group)
			continue
		}
		select {
		case <-y.wake:
		case <-ctx.Done():
		}
	}
}

// make makes one group durable.
func (y *syncer) make(group []step) {
	failed := syncFiles(group)
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

// syncFiles syncs the files of a group, and returns those that the kernel did
// not confirm.
func syncFiles(group []step) map[*os.File]error {
	results := map[*os.File]*error{}
	for _, s := range group {
		if s.file != nil && results[s.file] == nil {
			results[s.file] = new(error)
		}
	}
	var running sync.WaitGroup
	places := make(chan struct{}, filesAtOnce)
	for f, result := range results {
		places <- struct{}{}
		running.Go(func() {
			*result = fdatasync(f)
			<-places
		})
	}
	running.Wait()
	failed := map[*os.File]error{}
	for f, result := range results {
		if *result != nil {
			failed[f] = *result
		}
	}
	return failed
}

func fdatasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}
