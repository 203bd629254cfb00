package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/ebbgate/ebbgate/bridge"
)

// rawCommit is a commit found in a value log file without Badger's help.
type rawCommit struct {
	header *commitHeader
	value  []byte
	intact int  // frames
	whole  bool // every frame is intact
	copies int  // that the scan has found of it
}

// newRawCommit looks at the frames of the commit at the start of b.
func newRawCommit(h *commitHeader, b []byte) rawCommit {
	c := rawCommit{header: h, value: b[:min(h.size, len(b))], copies: 1}
	c.whole = len(c.value) == h.size
	walked := eachFrame(h.framesOf(b), func(_ byte, body []byte) bool {
		if body != nil {
			c.intact++
		} else {
			c.whole = false
		}
		return true
	})
	c.whole = c.whole && walked
	return c
}

// betterThan compares two copies of a commit.
func (c rawCommit) betterThan(old rawCommit) bool {
	return !old.whole && (c.whole || c.intact > old.intact)
}

// found adds a copy of a commit and keeps the better one.
func found(all map[bridge.Seq]rawCommit, c rawCommit) {
	old := all[c.header.first]
	c.copies += old.copies
	if old.header != nil && !c.betterThan(old) {
		old.copies = c.copies
		c = old
	}
	all[c.header.first] = c
}

// scanRaw finds the commits of one spool in the value log files of a
// generation, whatever has become of Badger's own files. Of two with one
// sequence the better one is kept. Commits inside a payload are never found in
// undamaged files, since the scan steps over a whole commit at a time, and not
// in damaged ones either, since a device cannot know the spool's id.
func scanRaw(dir string, id uint64) (map[bridge.Seq]rawCommit, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", dir, err)
	}
	sort.Strings(names)
	all := map[bridge.Seq]rawCommit{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		scanFile(b, id, func(c rawCommit) { found(all, c) })
	}
	return all, nil
}

// keptSuffix names the folder with a copy of a crashed generation's newest value
// log file.
const keptSuffix = ".kept"

// keepNewest scans a crashed generation and copies its newest value log file
// aside: Badger cuts that file at the first entry that it cannot read, and what
// is behind it is safe only once it is written anew. A copy that an earlier,
// interrupted recovery has left is scanned as well. Without room for the copy
// the recovery goes on without.
func (s *Spool) keepNewest(dir string) (map[bridge.Seq]rawCommit, error) {
	raw, err := scanRaw(dir, s.id)
	if err != nil {
		return nil, err
	}
	kept, err := scanRaw(dir+keptSuffix, s.id)
	if err != nil {
		return nil, err
	}
	for _, c := range kept {
		found(raw, c)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.vlog"))
	if len(names) == 0 || len(kept) > 0 {
		return raw, nil
	}
	newest := slices.Max(names)
	b, err := os.ReadFile(newest)
	if err == nil {
		err = os.MkdirAll(dir+keptSuffix, 0o700)
	}
	if err == nil {
		err = writeDurably(filepath.Join(dir+keptSuffix, filepath.Base(newest)), bytes.TrimRight(b, "\x00"))
	}
	if err != nil {
		s.deps.Log.Warn("spool: no copy before recovery", "of", newest, "error", err)
	}
	return raw, nil
}

// scanFile calls fn for the commits in the bytes of one file, in order.
func scanFile(b []byte, id uint64, fn func(rawCommit)) {
	magic := []byte(commitMagic)
	for {
		i := bytes.Index(b, magic)
		if i < 0 {
			return
		}
		b = b[i:]
		h, err := parseHeader(b)
		if err != nil || h.spool != id {
			b = b[1:]
			continue
		}
		c := newRawCommit(h, b)
		fn(c)
		if !c.whole {
			b = b[h.frames:] // its length may be false: look for the next inside
			continue
		}
		b = b[h.size:]
	}
}

// spoolIDIn finds the id of the spool whose commits a folder holds.
func spoolIDIn(dir string) (uint64, bool) {
	names, _ := filepath.Glob(filepath.Join(dir, "*.vlog"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if i := bytes.Index(b, []byte(commitMagic)); i >= 0 {
			if h, err := parseHeader(b[i:]); err == nil {
				return h.spool, true
			}
		}
	}
	return 0, false
}
