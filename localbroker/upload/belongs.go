package upload

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ebbgate/ebbgate/bridge"
)

// A transfer's file is called by whose it is and its number, 16 digits each, such as
// 5f1d…-794695a5886f9c24.segments. The first is of the shelf, for good, so that a
// gateway with another spool, which knows none of the transfers, leaves them alone.
const (
	segmentsSuffix = ".segments"
	tagKey         = "tag" // in shelfStore
	tagDigits      = 16
)

// tagLost is that of a file of ours whose record may have been on a part of the shelf
// that is damaged: it may be whole, and nobody else has it. No later start removes it.
const tagLost = "lost"

// warningDamage is the spool's code of the warning that something of it is lost.
const warningDamage = "spool-damage"

// damaged reports whether records may be missing: what seems to be nobody's need not be.
func (s *Service) damaged() bool {
	return slices.ContainsFunc(s.deps.Health.Warnings(), func(w bridge.Warning) bool { return w.Code == warningDamage })
}

// restoreTag finds out what this shelf's files are called, or chooses it.
func (s *Service) restoreTag() error {
	value, err := s.deps.Shelf.Get(shelfStore, tagKey)
	if err != nil {
		return err
	}
	if s.tag = string(value); len(s.tag) == tagDigits {
		return nil
	}
	var b [tagDigits / 2]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	s.tag = hex.EncodeToString(b[:])
	s.deps.Shelf.Commit(&bridge.Batch{Puts: []bridge.Put{{Namespace: shelfStore, Key: tagKey, Value: []byte(s.tag)}}}, func(_ bridge.Seq, err error) {
		if err != nil {
			s.deps.Log.Warn("what unfinished files are called could not be kept: those that a crash leaves stay where they are", "dir", s.opts.Dir, "error", err)
		}
	})
	return nil
}

// path is where a transfer's file is.
func (s *Service) path(t *transfer) string {
	name := t.name
	if name == "" {
		name = fmt.Sprintf("%s-%016x%s", s.tag, t.number, segmentsSuffix)
	}
	return filepath.Join(s.opts.Dir, name)
}

// parsePath takes the name of a transfer's file apart. An earlier version called it by
// the number alone.
func parsePath(name string) (tag string, number uint64, ok bool) {
	rest, ok := strings.CutSuffix(name, segmentsSuffix)
	if at := strings.LastIndexByte(rest, '-'); at >= 0 {
		tag, rest = rest[:at], rest[at+1:]
	}
	number, err := strconv.ParseUint(rest, 16, 64)
	return tag, number, ok && err == nil && len(rest) == 16
}

// restoreFiles cuts off what was not acknowledged, and removes what is nobody's: of
// our own. What is another's stays, with a warning.
func (s *Service) restoreFiles() error {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return err
	}
	known := map[uint64]*transfer{}
	for t := range s.allLocked() {
		known[t.number] = t
	}
	var strange []string
	for _, e := range entries {
		tag, number, ok := parsePath(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		switch t := known[number]; {
		case t != nil:
			t.name = e.Name()
			err = s.restoreFile(t, e)
		case tag != s.tag:
			strange = append(strange, e.Name())
		case s.damaged():
			name := fmt.Sprintf("%s-%016x%s", tagLost, number, segmentsSuffix)
			strange = append(strange, name)
			err = os.Rename(filepath.Join(s.opts.Dir, e.Name()), filepath.Join(s.opts.Dir, name))
		default:
			err = os.Remove(filepath.Join(s.opts.Dir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	s.tellStrange(strange)
	return nil
}

// restoreFile cuts off of a transfer's file what was not acknowledged.
func (s *Service) restoreFile(t *transfer, e os.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok { // less where expired segments have left holes
		s.chargeLocked(t, 0, min(st.Blocks*512-t.end, 0))
	}
	if info.Size() <= t.end {
		return nil
	}
	return os.Truncate(s.path(t), t.end)
}

// warningStrange is about files of transfers that are not on our shelf.
const warningStrange = "files-strange"

// tellStrange warns of files of transfers that another gateway knows, or another spool
// of this one.
func (s *Service) tellStrange(files []string) {
	if len(files) == 0 {
		s.deps.Health.Clear(warningStrange)
		return
	}
	bytes := bridge.Size(0)
	for _, name := range files {
		if info, err := os.Lstat(filepath.Join(s.opts.Dir, name)); err == nil { // else it has gone meanwhile
			bytes += bridge.Size(info.Size())
		}
	}
	s.deps.Health.Raise(bridge.Warning{Code: warningStrange, Severity: bridge.Degraded, Text: fmt.Sprintf(
		"in %s are files of transfers that this gateway's spool does not know: %d, %v, such as %s; they are left alone: if another gateway uses the folder, give each a file_transfer.dir of its own; if spool.dir was another one when they came, go back to it; if the spool was damaged (spool-damage), what begins with lost- may be whole files, their segments one after the other; else remove them, and start the gateway anew",
		s.opts.Dir, len(files), bytes, files[0])})
}
