package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/ebbgate/ebbgate/bridge"
)

// serialName is the file that says how far the state has come. Badger replays the
// log of its memtable up to the first entry that it cannot read and cuts the rest
// off without a word, as after a kill in the middle of a write; so one flipped bit
// sets the state back to what it was some thousand releases ago, and it looks whole.
// Each commit of the state has a number, in the state itself and, once it is synced,
// in this file. The file is not synced: after a kill it is exact, and after a power
// cut it is at most older than the state, so that it never speaks of what was not
// synced.
const serialName = "SERIAL"

const (
	serialMagic   = "EbbS"
	serialVersion = 1
	serialSlot    = 4 + 1 + 3 + 8 + 4
	serialSum     = serialSlot - 4
)

// serial is the number of the state's last commit, and the hand on the file.
type serial struct {
	mu     sync.Mutex              // held over a commit, so that they are in the order of their numbers
	n      uint64                  // used last
	last   uint64                  // the number of the last one that succeeded
	file   *os.File                // nil: the file cannot be written, and nothing is counted
	failed bool                    // and that has been said
	doubt  *doubt                  // a commit that has failed, nil for none
	commit func(*badger.Txn) error // Badger's, unless a test has another
}

// appendNumber encodes the number of a commit of the state, and that of the one
// before it where that is another than the one below: numbers of commits that failed
// are left out.
func appendNumber(b []byte, n, before uint64) []byte {
	b = binary.BigEndian.AppendUint64(b, n)
	if before+1 != n {
		b = binary.BigEndian.AppendUint64(b, before)
	}
	return b
}

// decodeNumber is the reverse of appendNumber; 0 is none.
func decodeNumber(b []byte) (n, before uint64) {
	switch len(b) {
	case 8:
		n = binary.BigEndian.Uint64(b)
		return n, n - min(n, 1)
	case 16:
		return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	}
	return 0, 0
}

// writeSerial writes the number of the last commit to the file.
func (s *Spool) writeSerial() {
	c := &s.serial
	_, err := c.file.WriteAt(appendSerial(nil, c.n), int64(c.n%2)*serialSlot)
	if err != nil && !c.failed {
		c.failed = true
		s.deps.Log.Warn("spool: the number of the state's commits cannot be written: should the state lose its last ones, fewer are told", "file", serialName, "error", err)
	}
}

func appendSerial(b []byte, n uint64) []byte {
	at := len(b)
	b = append(b, serialMagic...)
	b = append(b, serialVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, n)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

func decodeSerial(b []byte) (n uint64, ok bool) {
	if len(b) < serialSlot || string(b[:4]) != serialMagic || b[4] != serialVersion ||
		crc32.Checksum(b[:serialSum], castagnoli) != binary.BigEndian.Uint32(b[serialSum:]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[8:]), true
}

// readSerial reads the later of the file's two slots, of which a power cut can
// have spoiled the one that was being written. whole says that both are good.
func readSerial(dir string) (n uint64, whole bool, err error) {
	f, err := os.Open(filepath.Join(dir, serialName))
	if err != nil {
		return 0, false, err
	}
	b, err := io.ReadAll(io.LimitReader(f, 2*serialSlot))
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, false, err
	}
	x, okX := decodeSerial(b)
	y, okY := decodeSerial(b[min(serialSlot, len(b)):])
	if !okX && !okY {
		return 0, false, bridge.Errorf("number of the state's commits", bridge.Corrupt, "no slot is whole")
	}
	return max(x, y), okX && okY, nil
}

// openSerial compares the number that the state has with the file's, reports what
// is missing, and begins to count. It returns whether the state has lost commits: its
// number must then be set, so that this is reported once.
func (s *Spool) openSerial(state uint64) (lost bool) {
	n, whole, err := readSerial(s.opts.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && state == 0: // new, or written before they were counted
	case errors.Is(err, fs.ErrNotExist):
		s.damage(fmt.Sprintf("the file %s is not there: should the state have lost its last commits, nothing tells", serialName))
	case err != nil:
		s.damage(fmt.Sprintf("the file %s cannot be read (%v): should the state have lost its last commits, nothing tells", serialName, firstLine(err)))
	case state < n && !s.found.stateTold:
		s.damage("the state " + wentBack(state, n))
		s.found.stateTold = state == 0 // nothing is in it, and that is said
		lost = true
	}
	c := &s.serial
	c.n, c.last = max(n, state), state
	path := filepath.Join(s.opts.Dir, serialName)
	err = nil
	if !whole {
		err = writeDurably(path, appendSerial(appendSerial(nil, c.n), c.n))
	}
	if err == nil {
		c.file, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		s.deps.Log.Warn("spool: the state's commits are not counted: should it lose some, nothing tells", "file", serialName, "error", err)
	}
	return lost
}

// wentBack says what it means that the state has only some of its commits.
func wentBack(state, file uint64) string {
	return fmt.Sprintf("has lost its last %d commits of %d, for a file of it is damaged: messages that the cloud has may be sent again, the meters lack what was counted in them", file-state, file)
}

// verifySerial compares the state with the number of its commits.
func (r *Report) verifySerial(dir string) {
	n, _, err := readSerial(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && r.serial == 0: // not counted yet
	case errors.Is(err, fs.ErrNotExist):
		r.Serial = "it is not there"
	case err != nil:
		r.Serial = firstLine(err)
	case r.serial < n && r.State == "":
		r.State = "it " + wentBack(r.serial, n)
	}
}

// numberIn is the number of a commit of the state.
func numberIn(b []byte) uint64 { n, _ := decodeNumber(b); return n }

// serialOf is what the file of a spool's folder says, 0 when it cannot be read.
func serialOf(dir string) uint64 {
	n, _, err := readSerial(dir)
	if err != nil {
		return 0
	}
	return n
}
