package billing

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// How long the ledger stays fine: hours for this and the last month, days for
// a year beyond, then months.
const (
	keepHours = 62 * 24 * time.Hour
	keepDays  = 400 * 24 * time.Hour
	foldEvery = 24 * time.Hour
	foldBatch = 256 // counters moved in one commit
	keepSizes = keepHours
)

// Fold keeps the ledger of spool from growing with time: it sums old hours to
// days and old days to months, now and once a day until ctx ends. Each move is
// one commit: no crash counts anything twice. Recorded sizes of old days go. What an unsynchronised clock told
// is folded too, but never judged old by a clock that is itself not trusted.
func Fold(ctx context.Context, spool bridge.Spool, now func() bridge.Instant) error {
	for {
		if at := now(); at.Synced {
			if err := foldOnce(ctx, spool, at.Wall.UTC()); err != nil {
				return err
			}
			if err := dropSizes(ctx, spool, at.Wall.UTC()); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(foldEvery):
		}
	}
}

func foldOnce(ctx context.Context, spool bridge.Spool, now time.Time) error {
	for {
		var b bridge.Batch
		err := spool.Scan(Namespace, "", func(key string, value []byte) bool {
			hour, s, kind, ok := parseKey(key)
			if to := folded(hour, now); ok && to != hour && len(value) == 8 {
				b.Add(Namespace, s.key(to)+string(kind), int64(binary.BigEndian.Uint64(value)))
				b.Put(Namespace, key, nil)
			}
			return len(b.Puts) < foldBatch
		})
		if err != nil {
			return fmt.Errorf("billing: folding the ledger: %w", err)
		}
		if b.Empty() || ctx.Err() != nil {
			return nil
		}
		if err := commit(ctx, spool, &b); err != nil {
			return fmt.Errorf("billing: folding the ledger: %w", err)
		}
	}
}

// dropSizes drops the recorded sizes of days that are long gone.
func dropSizes(ctx context.Context, spool bridge.Spool, now time.Time) error {
	var b bridge.Batch
	err := spool.Scan(SizesNamespace, "", func(key string, _ []byte) bool {
		day, _, ok := parseSizesKey(key)
		if !ok || !day.IsZero() && now.Sub(day) > keepSizes {
			b.Put(SizesNamespace, key, nil)
		}
		return true
	})
	if err == nil && !b.Empty() {
		err = commit(ctx, spool, &b)
	}
	if err != nil {
		return fmt.Errorf("billing: dropping old sizes: %w", err)
	}
	return nil
}

// commit waits for the end of a commit, or for that of ctx.
func commit(ctx context.Context, spool bridge.Spool, b *bridge.Batch) error {
	done := make(chan error, 1)
	spool.Commit(b, func(_ bridge.Seq, err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return nil
	}
}

// folded is the bucket that an hour belongs to now: itself, its day or month.
func folded(hour string, now time.Time) string {
	start, synced, ok := parseHour(hour)
	if !ok || start.IsZero() {
		return hour
	}
	layout := hourLayout
	switch age := now.Sub(start); {
	case age > keepDays:
		layout = monthLayout
	case age > keepHours:
		layout = dayLayout
	}
	to := start.Format(layout)
	if !synced {
		to = unsynced + to
	}
	if len(to) >= len(hour) { // folded already
		return hour
	}
	return to
}
