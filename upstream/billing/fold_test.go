package billing

import (
	"encoding/binary"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// folding has so many devices in an hour of each age.
func folding(t *testing.T, now time.Time, devices int) *memory {
	t.Helper()
	spool := newMemory()
	for _, days := range []int{0, 61, 63, 64, 399, 401, 402} {
		for d := range devices {
			write(spool, hourOf(now.AddDate(0, 0, -days), d%2 == 0), "pump"+strings.Repeat("x", d), 1)
		}
	}
	return spool
}

// hoursOf are how many counters each bucket has.
func (m *memory) hoursOf() map[string]int {
	out := map[string]int{}
	for key := range m.counters {
		hour, _, _ := strings.Cut(key, sep)
		out[hour]++
	}
	return out
}

// What is old is folded to the last counter, in commits that are bounded, synchronised or
// not; and what is folded is left alone, also by a clock that has been put back since.
func TestFoldFoldsAllThatIsOldOnce(t *testing.T) {
	const devices = foldBatch + 30
	now := time.Date(2028, 3, 20, 12, 0, 0, 0, time.UTC)
	spool := folding(t, now, devices)
	const each = devices / 2
	for _, want := range []struct {
		at    time.Time
		hours map[string]int
	}{
		{now, map[string]int{"2028032012": each, "2028011912": each, "20280117": each, "20280116": each, "20270215": each, "202702": each}},
		{now.AddDate(0, 0, -350), map[string]int{"2028032012": each, "2028011912": each, "20280117": each, "20280116": each, "20270215": each, "202702": each}},
		{now.AddDate(0, 0, 1), map[string]int{"2028032012": each, "2028011912": each, "20280117": each, "20280116": each, "202702": each}},
		{now.AddDate(2, 0, 0), map[string]int{"202803": each, "202801": each, "202702": each}},
	} {
		if err := foldOnce(t.Context(), spool, want.at); err != nil {
			t.Fatal(err)
		}
		for hour, n := range maps.Clone(want.hours) {
			want.hours[unsynced+hour] = n
		}
		if got := spool.hoursOf(); !maps.Equal(got, want.hours) {
			t.Errorf("%s: %v, want %v", want.at, got, want.hours)
		}
		if spool.largest != 2*foldBatch {
			t.Errorf("%d changes in a commit, want %d", spool.largest, 2*foldBatch)
		}
	}
	sum := int64(0)
	for _, n := range spool.counters {
		sum += n
	}
	if sum != 7*devices {
		t.Errorf("%d, want %d", sum, 7*devices)
	}
}

// scanned is a spool with one more value.
type scanned struct {
	*memory
	key   string
	value []byte
}

func (s *scanned) Scan(namespace, prefix string, fn func(string, []byte) bool) error {
	if strings.HasPrefix(s.key, prefix) && !fn(s.key, s.value) {
		return nil
	}
	return s.memory.Scan(namespace, prefix, fn)
}

// What is no counter of an hour stays: of another version, damaged, or of no hour.
func TestFoldLeavesAlone(t *testing.T) {
	number := binary.BigEndian.AppendUint64(nil, 7)
	at := series{upstream: "aws", direction: Up, device: "pump", prefix: "dt/a"}
	for name, c := range map[string]struct {
		key   string
		value []byte
	}{
		"a value that is no number": {at.key("2026010105") + string(kindUnits), []byte("7")},
		"a key of something else":   {"2026010105" + sep + "aws", number},
		"an hour that is none":      {at.key("2026019905") + string(kindUnits), number},
		"the unknown hour":          {at.key(hourUnknown) + string(kindUnits), number},
	} {
		spool := &scanned{newMemory(), c.key, c.value}
		if err := foldOnce(t.Context(), spool, time.Date(2028, 3, 20, 12, 0, 0, 0, time.UTC)); err != nil || spool.largest > 0 {
			t.Errorf("%s: %d changes, %v", name, spool.largest, err)
		}
	}
}

// What the disk does not take is folded later, whole.
func TestFoldEndsWhereTheDiskFails(t *testing.T) {
	now := time.Date(2028, 3, 20, 12, 0, 0, 0, time.UTC)
	spool := folding(t, now, 4)
	before := maps.Clone(spool.counters)
	spool.fails = bridge.Errorf("commit", bridge.Full, "full")
	if err := foldOnce(t.Context(), spool, now); err == nil || !maps.Equal(spool.counters, before) {
		t.Errorf("%v, %d counters of %d", err, len(spool.counters), len(before))
	}
}

// Sizes of a day that no clock has told stay, as no time is too long ago for them; what is
// none of ours goes.
func TestWhichSizesAreDropped(t *testing.T) {
	now := time.Date(2028, 3, 20, 12, 0, 0, 0, time.UTC)
	p := pile{upstream: "aws", route: "r", prefix: "dt/a"}
	spool := newMemory()
	for _, day := range []string{hourUnknown, "20280319", "~20280319", "20280119", "~20280119", "20280118", "~20280118", "20280199"} {
		spool.sizes[p.key(day)] = []byte("1")
	}
	spool.sizes["something else"] = []byte("1")
	if err := dropSizes(t.Context(), spool, now); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for key := range spool.sizes {
		day, _, _ := strings.Cut(key, sep)
		got[day] = true
	}
	if want := map[string]bool{hourUnknown: true, "20280319": true, "~20280319": true, "20280119": true, "~20280119": true}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
