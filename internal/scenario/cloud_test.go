package scenario

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/tally"
)

// cloud is what a consumer at the cloud's broker sees.
type cloud struct {
	arrived    tally.Set
	total      atomic.Int64 // arrivals, duplicates included
	duplicates atomic.Int64
	late       atomic.Int64 // first arrivals after a later one of the same device
	foreign    atomic.Int64 // what nobody of the fleet sent

	unpack func(payload []byte) [][]byte // the messages in one, nil: it is one

	mu     sync.Mutex
	latest map[string]arrival // by device, of the highest number
	tales  []string           // of the first that were late
}

// arrival is when a numbered message came.
type arrival struct {
	number uint64
	at     time.Time
}

// taleMost are as many late messages as are told.
const taleMost = 10

// tell notes what a late message came after.
func (w *cloud) tell(device string, number uint64, late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, last := time.Now().UTC(), w.latest[device]
	if late && len(w.tales) < taleMost {
		w.tales = append(w.tales, fmt.Sprintf("%s %d at %s after %d at %s", device, number, now.Format("15:04:05.000000"), last.number, last.at.Format("15:04:05.000000")))
	}
	if number > last.number {
		if w.latest == nil {
			w.latest = map[string]arrival{}
		}
		w.latest[device] = arrival{number, now}
	}
}

// disorder says which messages were late, the first of them.
func (w *cloud) disorder() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.tales, "; ")
}

// watch subscribes to everything at a broker.
func watch(t testing.TB, addr string) *cloud {
	t.Helper()
	return watchUnpacked(t, addr, nil)
}

// watchUnpacked is watch, for messages that hold several.
func watchUnpacked(t testing.TB, addr string, unpack func([]byte) [][]byte) *cloud {
	t.Helper()
	w := &cloud{unpack: unpack}
	c := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("tcp://" + addr).
		SetClientID("consumer").
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { t.Errorf("the consumer lost the cloud: %v", err) }))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("consumer: %v", tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	if tok := c.Subscribe("#", 1, w.take); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("consumer: %v", tok.Error())
	}
	return w
}

func (w *cloud) take(_ mqtt.Client, m mqtt.Message) {
	w.total.Add(1)
	if w.unpack == nil {
		w.count(m.Payload())
		return
	}
	for _, p := range w.unpack(m.Payload()) {
		w.count(p)
	}
}

func (w *cloud) count(payload []byte) {
	device, number, ok := parse(payload)
	if !ok {
		w.foreign.Add(1)
		return
	}
	switch w.arrived.Add(device, number) {
	case tally.Duplicate:
		w.duplicates.Add(1)
	case tally.Late:
		w.late.Add(1)
		w.tell(device, number, true)
	case tally.Refused:
		w.foreign.Add(1)
	case tally.First:
		w.tell(device, number, false)
	}
}

// await waits until everything acknowledged has arrived, or until nothing has
// arrived for the given time, and returns the difference.
func (w *cloud) await(acked *tally.Set, idle time.Duration) tally.Difference {
	last, since := w.total.Load(), time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		d := tally.Compare(acked, &w.arrived)
		if d.Lost == 0 {
			return d
		}
		if n := w.total.Load(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > idle {
			return d
		}
		<-tick.C
	}
}

// until waits for a condition and reports whether it came true.
func until(within time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}
