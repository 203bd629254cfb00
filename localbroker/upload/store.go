package upload

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"github.com/ebbgate/ebbgate/bridge"
)

// warningStore is that of a folder that could not be opened since the start.
const warningStore = "files-store"

// storeLocked sees that the folder of unfinished files is there, and that nothing is
// in it that was not acknowledged. A disk that is mounted later than the gateway
// starts, or for reading only, keeps it from nothing else: commands that need the
// folder are refused, and it is tried again with each of them and every minute.
// After that it is looked at no more: what happens to it then, the system's calls
// tell.
func (s *Service) storeLocked() error {
	if s.stored {
		return nil
	}
	err := os.MkdirAll(s.opts.Dir, 0o750)
	if err == nil {
		err = s.restoreFiles()
	}
	if err != nil {
		if ofDisk(err) {
			s.deps.Health.Raise(bridge.Warning{Code: warningStore, Severity: bridge.Degraded, Text: fmt.Sprintf(
				"files of devices are refused, and messages that are to become files wait: %v; mount what file_transfer.dir names, for writing, and give it to the user of the gateway; it is tried again every minute", err)})
		}
		return fmt.Errorf("folder of unfinished files: %w", err)
	}
	s.stored = true
	s.deps.Health.Clear(warningStore)
	return nil
}

// ofDisk reports whether an error is of a path, which may be another one later.
func ofDisk(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

// allLocked are all transfers, each once.
func (s *Service) allLocked() iter.Seq[*transfer] {
	return func(yield func(*transfer) bool) {
		seen := map[*transfer]bool{}
		one := func(t *transfer) bool {
			if t.gone || seen[t] {
				return true
			}
			seen[t] = true
			return yield(t)
		}
		for _, t := range s.queue {
			if !one(t) {
				return
			}
		}
		for _, list := range []map[pair]*transfer{s.open, s.leaving} {
			for _, t := range list {
				if !one(t) {
					return
				}
			}
		}
	}
}
