package https

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// warningBusy is the code of a phase's warning.
const warningBusy = "uplink-busy"

// A server that has a bad moment has got over it by busyTold answers; a phase is
// over when it has taken messages for busyQuiet without such an answer in between.
// So one message of many that is never taken keeps its warning.
const (
	busyTold  = 3
	busyQuiet = time.Minute
)

// phase is a time in which the server puts messages off: by 5xx, 408 or 429, which
// say nothing of the message. They are tried again, and a person is told once.
type phase struct {
	mu    sync.Mutex
	times int
	since time.Time
	last  time.Time
}

// putOff notes an answer that puts a message off.
func (p *phase) putOff(now time.Time, a answer, topic string, hooks upstream.Hooks, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.times == 0 {
		p.since = now
	}
	p.times++
	p.last = now
	if p.times < busyTold {
		return
	}
	hooks.Warn(bridge.Warning{Code: warningBusy, Severity: bridge.Degraded, Text: fmt.Sprintf(
		"the server has put messages off %d times since %s, the latest on %s with %v: they wait and are tried again; %s",
		p.times, p.since.UTC().Format(time.RFC3339), topic, a, remedyOf(a.status))})
	if p.times == busyTold {
		log.Warn("the server puts messages off", "times", p.times, "answer", a.String(), "topic", topic)
	}
}

// took notes that a message was taken.
func (p *phase) took(now time.Time, hooks upstream.Hooks, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.times == 0 || now.Sub(p.last) < busyQuiet {
		return
	}
	if p.times >= busyTold {
		hooks.Over(warningBusy)
		log.Info("the server takes messages again", "put_off", p.times)
	}
	p.times = 0
}

func remedyOf(status int) string {
	switch status {
	case http.StatusTooManyRequests:
		return "lower limits.messages_per_second of the upstream, or look for who else uses its quota"
	case http.StatusRequestTimeout:
		return "the way there is too slow for it: lower limits.in_flight of the upstream, or look at the link"
	}
	return "look at the state of the server, or of the proxy before it; if it is always the same topic, look at that message, and give it up with ebbgate spool drop"
}
