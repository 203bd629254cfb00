package billing

import (
	"fmt"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// SizesNamespace is where the spool keeps the recorded sizes: a histogram per
// day, upstream, route and topic prefix.
const SizesNamespace = "sizes"

// maxSizes bounds the histograms of one upstream and day; what is above is
// recorded as "(other)".
const maxSizes = 200

// daySizes is what one route sent under one topic prefix on one day.
type daySizes struct {
	key       string
	histogram sizes.Histogram
	dirty     bool
}

// sizeBook is the histograms of the present day. Whoever holds the meter's lock
// may use it.
type sizeBook struct {
	day   string
	all   map[string]*daySizes
	count map[string]int // by upstream
	spool bridge.Spool
}

func newSizeBook(spool bridge.Spool) *sizeBook { return &sizeBook{spool: spool} }

// find is the histogram of a series in the day of hour, nil when what the day
// has already cannot be read: then nothing is recorded, rather than that it is
// lost.
func (b *sizeBook) find(hour string, s series) *daySizes {
	day := hour
	if strings.TrimPrefix(hour, unsynced) != hourUnknown {
		day = hour[:len(hour)-2]
	}
	if day != b.day || b.all == nil {
		if err := b.open(day); err != nil {
			return nil
		}
	}
	key := strings.Join([]string{day, s.upstream, s.route, s.prefix}, sep)
	if d := b.all[key]; d != nil {
		return d
	}
	if b.count[s.upstream] >= maxSizes {
		key = strings.Join([]string{day, s.upstream, other, other}, sep)
		if d := b.all[key]; d != nil {
			return d
		}
	}
	b.count[s.upstream]++
	d := &daySizes{key: key}
	b.all[key] = d
	return d
}

// open reads what the day has: after a restart it goes on. What the day before
// has not written yet is kept to be written.
func (b *sizeBook) open(day string) error {
	all, count := map[string]*daySizes{}, map[string]int{}
	err := b.spool.Scan(SizesNamespace, day+sep, func(key string, value []byte) bool {
		if h, err := sizes.Decode(value); err == nil { // a damaged one begins anew
			all[key] = &daySizes{key: key, histogram: h}
			_, rest, _ := strings.Cut(key, sep)
			upstream, _, _ := strings.Cut(rest, sep)
			count[upstream]++
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("billing: reading the sizes of the day: %w", err)
	}
	for key, d := range b.all {
		if d.dirty {
			all[key] = d
		}
	}
	b.day, b.all, b.count = day, all, count
	return nil
}

// flush puts what has changed into a batch. What cannot be committed is given
// again with the next.
func (b *sizeBook) flush(batch *bridge.Batch) (put []*daySizes) {
	for _, d := range b.all {
		if d.dirty {
			d.dirty = false
			batch.Put(SizesNamespace, d.key, d.histogram.Encode())
			put = append(put, d)
		}
	}
	return put
}

// parseSizesKey is the inverse of a histogram's key.
func parseSizesKey(key string) (day time.Time, s series, ok bool) {
	f := strings.Split(key, sep)
	if len(f) != 4 {
		return time.Time{}, series{}, false
	}
	day, _, ok = parseHour(f[0])
	return day, series{upstream: f[1], direction: Up, route: f[2], prefix: f[3]}, ok
}
