package localbroker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// quietLog logs what devices do wrong at a bounded rate: of each reason a burst
// of ten, then one every ten seconds with the number of those left out. Reasons
// are a fixed set, so the map is bounded.
type quietLog struct {
	log *slog.Logger

	mu      sync.Mutex
	reasons map[string]*quietReason
}

type quietReason struct {
	limit *rate.Limiter
	left  int
}

func newQuietLog(log *slog.Logger) *quietLog {
	return &quietLog{log: log, reasons: map[string]*quietReason{}}
}

// warn logs msg of the reason, unless there were too many.
func (q *quietLog) warn(reason, msg string, attrs ...slog.Attr) {
	if !q.log.Enabled(context.Background(), slog.LevelWarn) {
		return
	}
	q.mu.Lock()
	r := q.reasons[reason]
	if r == nil {
		r = &quietReason{limit: rate.NewLimiter(rate.Every(10*time.Second), 10)}
		q.reasons[reason] = r
	}
	if !r.limit.Allow() {
		r.left++
		q.mu.Unlock()
		return
	}
	left := r.left
	r.left = 0
	q.mu.Unlock()
	attrs = append(attrs, slog.String("reason", reason))
	if left > 0 {
		attrs = append(attrs, slog.Int("left_out", left))
	}
	q.log.LogAttrs(context.Background(), slog.LevelWarn, msg, attrs...)
}
