package spool

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestDamagedAtRandom harms one file of a spool that has a random history behind
// it. Whatever it is: each record that was acknowledged and not released is
// delivered, or within a range that is reported missing; what was released comes again
// only when the state is damaged and that is reported; the start, repair
// and verify report the same; after the repair verify calls it sound; verify calls it sound only when nothing is missing; what is
// reported missing once is not reported again, and after repair nothing is. EBBGATE_SEED runs one of them.
func TestDamagedAtRandom(t *testing.T) {
	t.Parallel()
	from, to := uint64(1), uint64(20)
	if os.Getenv("EBBGATE_SOAK") != "" {
		to = 600
	}
	if s := os.Getenv("EBBGATE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("EBBGATE_SEED: %v", err)
		}
		from, to = n, n
	}
	for seed := from; seed <= to; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			h := live(t, seed)
			if r, err := Verify(h.dir, nil); err != nil || !r.Sound() {
				t.Fatalf("%s, before any damage: %+v, %v", h.how, r, err)
			}
			only := ""
			if seed%4 == 0 { // damage there sets the state back, which looks whole
				only = stateLog
			}
			top, what := h.harm(only)
			t.Logf("%s, then %s", h.how, what)
			h.judge(top)
		})
	}
}

// TestTheJudgeSeesASetBack gives the judge a spool whose state is an earlier one, in
// a way that no start can see: the number of its commits is the earlier one as well.
// What was released then comes again, and nothing tells.
func TestTheJudgeSeesASetBack(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 2; seed++ {
		h := live(t, seed)
		h.s = h.open(h.dir)
		h.append(200)
		before := killed(t, h.dir)
		h.releaseSome(historyQueues[0], 2, 1000) // of each two one stays, so that no generation goes
		closeTest(t, h.s)
		state, number := filepath.Join(h.dir, "state"), filepath.Join(h.dir, serialName)
		if err := errors.Join(os.RemoveAll(state), os.CopyFS(state, os.DirFS(filepath.Join(before, "state"))), os.Remove(number), os.Rename(filepath.Join(before, serialName), number)); err != nil {
			t.Fatal(err)
		}
		var faults []string
		h.fault = func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
		h.judge("state")
		if !slices.ContainsFunc(faults, func(f string) bool {
			return strings.Contains(f, " come again, verify says sound: true, the start reports damage: false")
		}) {
			t.Errorf("seed %d: the judge finds no fault but %q", seed, faults)
		}
	}
}

// view is what a start on a spool's folder shows.
type view struct {
	there, lost map[string]map[bridge.Place]bool
	shelf       map[string]string
	reported    bool
	warnings    []bridge.Warning
}

// look opens a folder, repairs it or not, and reads everything.
func (h *history) look(dir string, repair bool) *view {
	h.t.Helper()
	v := &view{there: map[string]map[bridge.Place]bool{}, lost: map[string]map[bridge.Place]bool{}, shelf: map[string]string{}}
	s := h.open(dir)
	defer closeTest(h.t, s)
	if repair {
		if _, err := s.Repair(nil); err != nil {
			h.t.Errorf("repair: %v", err)
		}
	}
	for _, q := range historyQueues {
		v.there[q], v.lost[q] = map[bridge.Place]bool{}, map[bridge.Place]bool{}
		h.read(s, q, v.there[q])
	}
	for _, m := range s.Missing() {
		for p := m.From; p < m.To; p++ {
			if v.lost[m.Queue] == nil || v.lost[m.Queue][p] || v.there[m.Queue][p] {
				h.t.Fatalf("place %d of %s is reported missing twice, or is there: %v", p, m.Queue, s.Missing())
			}
			v.lost[m.Queue][p] = true
		}
	}
	err := s.Scan(shelfQueue, "", func(k string, value []byte) bool { v.shelf[k] = string(value); return true })
	if err != nil {
		h.t.Error(err)
	}
	v.reported, v.warnings = s.damages.Load() > 0, s.deps.Health.Warnings()
	return v
}

// read reads a queue: what comes is what was given, in order.
func (h *history) read(s *Spool, queue string, there map[bridge.Place]bool) {
	h.t.Helper()
	c := s.Cursor(queue)
	defer c.Close()
	for last := bridge.Place(0); ; {
		r, err := c.Next()
		if err != nil {
			h.t.Fatal(err)
		}
		if r == nil {
			return
		}
		given := h.given[queue]
		if r.Place <= last || int(r.Place) > len(given) || string(r.Payload) != given[r.Place-1] {
			h.t.Fatalf("place %d of %s after %d holds %.60q", r.Place, queue, last, r.Payload)
		}
		last = r.Place
		there[r.Place] = true
	}
}

// judge compares what the damaged folder shows with what was acknowledged.
func (h *history) judge(top string) {
	report, err := Verify(h.dir, nil)
	if err != nil && top != "log" {
		h.t.Fatal(err)
	}
	second := killed(h.t, h.dir)
	v := h.look(h.dir, false)
	missing, again := 0, 0
	for _, q := range historyQueues {
		for i := range h.given[q] {
			p := bridge.Place(i + 1)
			there, lost, done := v.there[q][p], v.lost[q][p], h.done[q][p]
			if lost {
				missing++
			}
			if done && there {
				again++
			}
			switch {
			case done && there && top != "state":
				h.fault("place %d of %s comes again", p, q)
			case done && lost && top != "state":
				h.fault("place %d of %s was released and is reported missing", p, q)
			case !done && !there && !lost && i < h.sure[q]:
				h.fault("place %d of %s is missing, and nothing tells: %d were given, %d for sure, %d are there, %d are reported", p, q, len(h.given[q]), h.sure[q], len(v.there[q]), len(v.lost[q]))
				return
			}
		}
		for p := range v.lost[q] {
			if int(p) > len(h.given[q]) {
				h.fault("place %d of %s is reported missing, and was never given", p, q)
			}
		}
	}
	for k, want := range h.shelf {
		if v.shelf[k] != want && !v.reported && h.how != "cut" {
			h.fault("%s is %q on the shelf, want %q, and nothing tells", k, v.shelf[k], want)
		}
	}
	if err == nil {
		h.compare(report.Missing, v.lost, "start")
	}
	if missing > 0 && report.Sound() {
		h.fault("%d are missing, and verify calls it sound: %+v", missing, report)
	}
	if again > 0 && (report.Sound() || !v.reported) {
		h.fault("%d come again, verify says sound: %v, the start reports damage: %v", again, report.Sound(), v.reported)
	}
	if report.Sound() && v.reported || missing > 0 && !v.reported {
		h.fault("verify says sound: %v, the start reports damage: %v, %v", report.Sound(), v.reported, v.warnings)
	}
	if r := h.look(second, true); !same(r.lost, v.lost) || !same(r.there, v.there) {
		h.fault("repair reports %v, the start %v", counts(r.lost), counts(v.lost))
	}
	if after := h.look(second, false); after.reported || !same(after.there, v.there) {
		h.fault("after the repair there are %v, before %v, and it is reported: %v", counts(after.there), counts(v.there), after.warnings)
	}
	if r, err := Verify(second, nil); err != nil || !r.Sound() || len(r.Missing) > 0 {
		h.fault("after the repair verify says %+v, %v", r, err)
	}
	h.goOn(v)
}

// compare compares what verify finds missing with what was reported.
func (h *history) compare(list []Missing, lost map[string]map[bridge.Place]bool, by string) {
	said := map[string]map[bridge.Place]bool{}
	for _, q := range historyQueues {
		said[q] = map[bridge.Place]bool{}
	}
	for _, m := range list {
		for p := m.From; p < m.To; p++ {
			said[m.Queue][p] = true
		}
	}
	if !same(said, lost) {
		h.fault("verify says that %s are missing, the %s %s: %v", counts(said), by, counts(lost), list)
	}
}

// goOn starts again on what was damaged: the same is there, nothing is reported
// again, and what is given from now on is there as well.
func (h *history) goOn(before *view) {
	s := h.open(h.dir)
	var b bridge.Batch
	b.Append(record(h.n, historyQueues...))
	commitAll(h.t, s, &b)
	closeTest(h.t, s)
	next := map[string]bridge.Place{}
	s = h.open(h.dir)
	for _, q := range historyQueues {
		next[q] = s.endOf(q)
		h.given[q] = slices.Grow(h.given[q], int(next[q]))
		for len(h.given[q]) < int(next[q])-2 { // the mark of a power cut was older: places are used again
			h.given[q] = append(h.given[q], "")
		}
		h.given[q] = append(h.given[q][:next[q]-2], string(record(h.n).Payload))
		before.there[q][next[q]-1] = true
	}
	closeTest(h.t, s)
	after := h.look(h.dir, false)
	if !same(after.there, before.there) {
		h.fault("after the next start there are %v, before %v", counts(after.there), counts(before.there))
	}
	if n := counts(after.lost); strings.Trim(n, " 0") != "" {
		h.fault("reported missing again: %s", n)
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "log", "*.*")); len(left) > 0 {
		h.fault("left behind: %v", left)
	}
}

func same(a, b map[string]map[bridge.Place]bool) bool {
	return maps.EqualFunc(a, b, func(x, y map[bridge.Place]bool) bool { return maps.Equal(x, y) })
}

// counts says how many places of each queue there are.
func counts(x map[string]map[bridge.Place]bool) string {
	var out []string
	for _, q := range historyQueues {
		out = append(out, strconv.Itoa(len(x[q])))
	}
	return strings.Join(out, " ")
}
