package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// LiveOptions describe the demo for a person.
type LiveOptions struct {
	Setup
	Devices  int
	Interval time.Duration // between two messages of a device
}

// Terminal is a terminal in raw mode. Whoever makes it gives it back.
type Terminal interface {
	Keys() <-chan byte
	Size() (columns, rows int)
}

// Rhythms of the demo.
const (
	frameEvery  = 200 * time.Millisecond
	lineEvery   = time.Second
	statusEvery = 250 * time.Millisecond
	windDown    = 10 * time.Second // for the backlog, when a signal ends the demo
	keepEvents  = 8
)

// live is a running demo for a person.
type live struct {
	*rig
	status  atomic.Pointer[telemetry.Status] // nil while the gateway does not answer
	started time.Time
	pace    telemetry.Rate // of what is acknowledged to the devices

	mu     sync.Mutex
	events []event
	told   int       // events so far, those included that are not kept
	cutAt  time.Time // zero: the link is up
	alarms uint64    // raised by the first device
	people int64     // messages of people that were told of
	busy   bool      // the gateway is being killed and started
	quit   bool
}

// event is something that happened, for the list at the bottom.
type event struct {
	at   time.Time
	text string
}

// Live runs the demo until q or ctx ends it. t is nil without a terminal: then
// a line a second is printed to w instead of a view.
func Live(ctx context.Context, o LiveOptions, t Terminal, w io.Writer) (f Farewell, err error) {
	r, err := openRig(ctx, o.Setup, ebbgate, devices.Options{
		Count: o.Devices, Window: deviceWindow, Interval: o.Interval, Payload: payloadBytes,
	})
	if err != nil {
		return Farewell{}, err
	}
	l := &live{rig: r, started: time.Now(), pace: telemetry.Rate{Window: paceWindow}}
	defer func() {
		err = errors.Join(err, r.close())
		f = l.count()
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.ask(ctx) // the first picture shows a gateway that answers
	r.connect()
	r.task(func() error { return l.watch(ctx) })
	if t == nil {
		_, _ = fmt.Fprintln(w, "Send a message of your own: "+l.yourLine())
		return f, l.lines(ctx, w)
	}
	return f, l.frames(ctx, t, w)
}

// frames draws the view and obeys keys.
func (l *live) frames(ctx context.Context, t Terminal, w io.Writer) error {
	_, _ = io.WriteString(w, enterScreen)
	defer func() { _, _ = io.WriteString(w, leaveScreen) }()
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		columns, rows := t.Size()
		_, _ = io.WriteString(w, l.view().frame(columns, rows))
		select {
		case key := <-t.Keys():
			if l.press(ctx, key) {
				return nil
			}
		case <-tick.C:
			if err := l.err(); err != nil {
				return err
			}
			if l.drainedOut() {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// lines prints a line a second, and lets the backlog drain when ctx ends.
func (l *live) lines(ctx context.Context, w io.Writer) error {
	tick := time.NewTicker(lineEvery)
	defer tick.Stop()
	for told := 0; ; {
		select {
		case <-tick.C:
			v := l.view()
			_, _ = fmt.Fprintln(w, v.line())
			for ; told < v.happened; told++ {
				if i := len(v.events) - (v.happened - told); i >= 0 {
					_, _ = fmt.Fprintln(w, "  "+v.events[i].text)
				}
			}
			if err := l.err(); err != nil {
				return err
			}
		case <-ctx.Done():
			l.windDown()
			return nil
		}
	}
}

func (l *live) windDown() {
	l.beginQuit()
	for deadline := time.Now().Add(windDown); !l.drainedOut() && l.err() == nil && time.Now().Before(deadline); {
		_ = pause(context.Background(), frameEvery)
	}
}

// watch asks the gateway how it is, and looks for what people send.
func (l *live) watch(ctx context.Context) error {
	for pause(ctx, statusEvery) == nil {
		l.ask(ctx)
		l.greet()
	}
	return nil
}

func (l *live) ask(ctx context.Context) {
	if s, err := l.gateway.status(ctx); err == nil {
		l.status.Store(&s)
	} else {
		l.status.Store(nil)
	}
}

// greet tells of messages that people have sent.
func (l *live) greet() {
	others, latest := l.cloud.Arrivals().Counts().Others, l.cloud.Arrivals().Latest()
	l.mu.Lock()
	fresh := min(int(others-l.people), len(latest))
	l.people = others
	l.mu.Unlock()
	for _, m := range latest[len(latest)-max(0, fresh):] {
		l.tell("your message arrived: %s  %s  (from %s)", printable(m.Topic), printable(m.Payload), printable(m.Device))
	}
}

// tell adds an event.
func (l *live) tell(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told++
	l.events = append(l.events[max(0, len(l.events)+1-keepEvents):], event{time.Now(), fmt.Sprintf(format, args...)})
}

// Farewell is the count at the end of a live demo: acknowledged in the devices,
// arrived in the cloud.
type Farewell struct {
	Acked, Arrived, Lost   int64
	Spooled                int64 // acknowledged, not arrived, and still on the gateway's disk
	Duplicates, OutOfOrder int64
}

// count takes the farewell's figures. What has not arrived is lost, unless the
// gateway had as much in its spool.
func (l *live) count() Farewell {
	d, c := l.account(), l.cloud.Arrivals().Counts()
	f := Farewell{Acked: l.fleet.Acked().Len(), Lost: d.Lost, Duplicates: c.Duplicates, OutOfOrder: c.OutOfOrder}
	f.Arrived = f.Acked - d.Lost
	if d.Lost <= l.lastDepth() {
		f.Lost, f.Spooled = 0, d.Lost
	}
	return f
}

// Print writes the count for a person.
func (f Farewell) Print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "acknowledged to the devices  %s\narrived in the cloud         %s\n", thousands(f.Acked), thousands(f.Arrived))
	if f.Spooled > 0 {
		_, _ = fmt.Fprintf(w, "still in the spool           %s\n", thousands(f.Spooled))
	}
	_, _ = fmt.Fprintf(w, "lost                         %s\nduplicates                   %s\nout of order                 %s\n",
		thousands(f.Lost), thousands(f.Duplicates), thousands(f.OutOfOrder))
}

// lastDepth is what the gateway last said about its spool.
func (l *live) lastDepth() int64 {
	if s := l.status.Load(); s != nil {
		return s.Spool.Depth
	}
	return 0
}

// yourLine is what a person types to send a message of his own.
func (l *live) yourLine() string {
	host, port := splitAddr(l.edge.listen)
	return fmt.Sprintf(`mosquitto_pub -h %s -p %s -q 1 -t demo/hello -m "hello"`, host, port)
}
