package upload

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// State is how far a transfer has come.
type State string

// The states of a transfer.
const (
	StateOpen       State = "open"       // it takes segments
	StateAssembling State = "assembling" // its fin is being worked on
	StateQueued     State = "queued"     // whole, it waits for its export
	StateExporting  State = "exporting"
	StateFailed     State = "failed" // its export has failed, and will be tried again
	StateExported   State = "exported"
)

// Transfer is one transfer as an operator sees it.
type Transfer struct {
	ClientID string  `json:"client_id"`
	FileID   string  `json:"file_id"`
	Name     string  `json:"name,omitempty"` // empty before init
	State    State   `json:"state"`
	Size     *int64  `json:"size,omitempty"`     // as fin said, else as init did; nil: not known
	Received int64   `json:"received"`           // bytes that have come; what overlaps counts twice
	Segments int     `json:"segments,omitempty"` // that it is made of
	Rate     float64 `json:"bytes_per_second"`   // of what comes
	Left     float64 `json:"seconds_left,omitempty"`
	Age      float64 `json:"age_seconds"`  // since its first command; exported: since then
	Idle     float64 `json:"idle_seconds"` // since its last

	Sent     int64  `json:"sent,omitempty"`     // bytes of this attempt to export it
	Attempts int    `json:"attempts,omitempty"` // that have failed, and not because the target was away
	Error    string `json:"error,omitempty"`    // of the last, until the next gets on; or what it waits for: its device too

	SHA256     string          `json:"sha256,omitempty"` // once it has been computed
	Place      string          `json:"place,omitempty"`  // at the target
	ExportedAt time.Time       `json:"exported_at,omitzero"`
	Metadata   json.RawMessage `json:"metadata,omitempty"` // what init said; of one that runs only in a Detail
	Cost       Cost            `json:"cost"`
}

// MostListed is the most transfers of one page.
const MostListed = 1000

// Running lists transfers that are not exported, in an order that stays: those
// behind following, which is empty or what the page before returned as next.
func (s *Service) Running(following string, limit int) (page []Transfer, next string) {
	limit = min(max(limit, 1), MostListed)
	held := s.held()
	s.mu.Lock()
	defer s.mu.Unlock()
	type entry struct {
		key string
		t   *transfer
	}
	var all []entry
	for _, t := range s.runningLocked() {
		if key := t.listKey(); key > following {
			all = append(all, entry{key, t})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	for i, e := range all {
		if i == limit {
			return page, all[i-1].key
		}
		page = append(page, s.viewLocked(e.t, held))
	}
	return page, ""
}

// runningLocked are all transfers, open and verified. Of one client and file there
// are two at most: one that is verified, and an open one behind it. A fin of that one
// makes no second verified (see again), whatever it is about.
func (s *Service) runningLocked() []*transfer {
	out := make([]*transfer, 0, len(s.open)+len(s.queue))
	for _, t := range s.open {
		out = append(out, t)
	}
	queued := make(map[*transfer]bool, len(s.queue))
	for _, t := range s.queue {
		queued[t] = true
		if !t.gone {
			out = append(out, t)
		}
	}
	for _, t := range s.leaving { // with mode direct they are in no queue
		if !t.gone && !queued[t] {
			out = append(out, t)
		}
	}
	return out
}

func (t *transfer) listKey() string { return t.key() + transferKey(t.number) }

// viewLocked is a transfer as it is now, while exports are held back for a reason or
// for none.
func (s *Service) viewLocked(t *transfer, held string) Transfer {
	now, j := s.now(), &t.journal
	v := Transfer{
		ClientID: t.client, FileID: t.file, State: StateOpen, Received: t.charged, Segments: len(t.segments),
		Age: (now - t.begun).Seconds(), Idle: (now - max(j.heard, t.begun)).Seconds(), Attempts: t.attempts, Cost: j.cost,
	}
	if t.meta != nil {
		v.Name, v.Size = t.meta.Name, t.meta.Size
	}
	switch {
	case t.verified != nil:
		v.State, v.Error = StateQueued, held
		if t.failure != nil {
			v.Error = t.failure.Error()
		}
		v.Size, v.Received, v.SHA256 = &t.verified.Size, t.verified.Size, hex.EncodeToString(t.verified.Sum)
		if t.failure != nil && !errors.Is(t.failure, bridge.ErrHeld) {
			v.State = StateFailed
		}
		if j.export != nil {
			// What was sent in vain, and again, costs; it is not how far the file is.
			sent := j.export.sent.Load()
			v.State, v.Sent = StateExporting, min(sent, t.verified.Size)
			v.Cost.Exported += sent
			if sent > 0 { // what the attempt before failed with is over
				v.Error = held
			}
		}
	case t.job != nil:
		v.State, v.Size = StateAssembling, &t.job.size
	default:
		if v.Error = j.toldToWait(); v.Error == "" && t.failure != nil { // with mode direct
			v.Error = t.failure.Error()
		}
		v.Rate = j.speed(now, t.begun)
		if v.Size != nil && v.Rate >= 1 && *v.Size > v.Received {
			v.Left = float64(*v.Size-v.Received) / v.Rate
		}
	}
	return v
}

func encodeMeta(m *meta) json.RawMessage {
	b, err := json.Marshal(m)
	if err != nil { // texts and numbers, and JSON that was parsed
		panic("upload: encode metadata: " + err.Error())
	}
	return b
}

// Exported lists files that have been exported and are remembered, in an order
// that stays: those behind following, which is empty or what the page before
// returned as next.
func (s *Service) Exported(following string, limit int) (page []Transfer, next string, err error) {
	limit = min(max(limit, 1), MostListed)
	last, more := "", false
	err = s.deps.Shelf.Scan(shelfFile, "", func(key string, value []byte) bool {
		if key <= following {
			return true
		}
		if more = len(page) == limit; more {
			return false
		}
		var e exported
		if decodeJSON(value, &e) == nil && e.Meta != nil { // what is damaged is the sweep's
			page = append(page, s.exportedView(&e))
			last = strings.Clone(key)
		}
		return true
	})
	if err != nil {
		return nil, "", fmt.Errorf("exported files: %w", err)
	}
	if more {
		next = last
	}
	return page, next, nil
}

// exportedOf finds an exported file, nil when none is remembered.
func (s *Service) exportedOf(p pair) (*exported, error) {
	value, err := s.deps.Shelf.Get(shelfFile, p.key())
	if err != nil || value == nil {
		return nil, err
	}
	var e exported
	if err := decodeJSON(value, &e); err != nil || e.Meta == nil || len(e.Sum) != len(checksum{}) {
		return nil, fmt.Errorf("the record of an exported file: %w", cmp.Or(err, error(errReadSegment)))
	}
	return &e, nil
}

// exportedView is an exported file. Its time is told by how long ago it was, so
// that a clock that was wrong then does not matter.
func (s *Service) exportedView(e *exported) Transfer {
	wall, _ := s.deps.Wall()
	ago := max(s.now()-e.At, 0)
	v := Transfer{
		ClientID: e.ClientID, FileID: e.FileID, Name: e.Meta.Name, State: StateExported, Size: &e.Size, Received: e.Size,
		Age: ago.Seconds(), Idle: ago.Seconds(), SHA256: hex.EncodeToString(e.Sum), Place: e.Place,
		ExportedAt: wall.Add(-ago).UTC().Truncate(time.Second), Metadata: encodeMeta(e.Meta), Sent: e.Size,
	}
	if e.Cost != nil {
		v.Cost = *e.Cost
	}
	return v
}

// Range is a part of a file, from its first byte to behind its last.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Detail is all that is known of one transfer.
type Detail struct {
	Transfer
	Have     []Range  `json:"have,omitempty"`     // what has come, put together
	Gaps     []Range  `json:"gaps,omitempty"`     // what is missing of Size, or up to the last byte that has come
	Cut      bool     `json:"cut,omitempty"`      // there is more of Have and Gaps than is told
	Smallest int64    `json:"smallest,omitempty"` // segment
	Largest  int64    `json:"largest,omitempty"`
	Answers  []Answer `json:"answers,omitempty"` // the last ones, oldest first
}

// mostRanges bounds the ranges of a Detail.
const mostRanges = 1000

// Show tells all about the transfers of a client and file id: those that run, and
// the exported one.
func (s *Service) Show(clientID, fileID string) ([]Detail, error) {
	p, held := pair{clientID, fileID}, s.held()
	s.mu.Lock()
	var out []Detail
	for _, t := range s.runningLocked() {
		if t.pair == p {
			out = append(out, s.detailLocked(t, held))
		}
	}
	s.mu.Unlock()
	e, err := s.exportedOf(p)
	if err != nil {
		return nil, err
	}
	if e != nil {
		// One whose end is on the shelf runs for a moment yet.
		out = slices.DeleteFunc(out, func(d Detail) bool { return d.SHA256 != "" })
		out = append(out, Detail{Transfer: s.exportedView(e)})
	}
	return out, nil
}

func (s *Service) detailLocked(t *transfer, held string) Detail {
	d := Detail{Transfer: s.viewLocked(t, held)}
	if t.meta != nil {
		d.Metadata = encodeMeta(t.meta)
	}
	list := make([]span, 0, len(t.segments))
	for at := range t.segments {
		list = append(list, at)
		d.Largest = max(d.Largest, at.length)
		if d.Smallest == 0 || at.length < d.Smallest {
			d.Smallest = at.length
		}
	}
	d.Have, d.Gaps, d.Cut = ranges(list, d.Size)
	for _, a := range t.journal.said {
		d.Answers = append(d.Answers, Answer{Command: verbNames[a.verb], Offset: a.offset, Said: a.said, Age: (s.now() - a.at).Seconds()})
	}
	return d
}

var verbNames = map[verb]string{verbInit: "init", verbSegment: "segment", verbFin: "fin", verbAbort: "abort"}

// ranges puts segments together, and finds what lies between them.
func ranges(list []span, size *int64) (have, gaps []Range, cut bool) {
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.offset, b.offset) })
	end := int64(0)
	for _, at := range list {
		if n := len(have); n > 0 && at.offset <= end {
			have[n-1].To = max(end, at.end())
		} else {
			if len(have) == mostRanges {
				return have, gaps, true
			}
			if at.offset > end {
				gaps = append(gaps, Range{end, at.offset})
			}
			have = append(have, Range{at.offset, at.end()})
		}
		end = max(end, at.end())
	}
	if size != nil && *size > end {
		gaps = append(gaps, Range{end, *size})
	}
	return have, gaps, false
}
