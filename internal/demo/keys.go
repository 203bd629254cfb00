package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// The keys. In raw mode Ctrl-C is a key too.
const (
	keyCut     = 'c'
	keyRestore = 'r'
	keyPower   = 'p'
	keyDeny    = 'd'
	keyQuit    = 'q'
	keyCtrlC   = 0x03
)

const (
	alarmTime = 30 * time.Second
	denyTime  = 5 * time.Second
)

// press obeys a key and reports whether the demo ends now.
func (l *live) press(ctx context.Context, key byte) (end bool) {
	switch key {
	case keyCut:
		l.cut()
	case keyRestore:
		l.restoreLink(ctx)
	case keyPower:
		l.power(ctx)
	case keyDeny:
		l.task(func() error { return l.deny(ctx) })
	case keyQuit, keyCtrlC:
		if l.quitting() {
			return true
		}
		l.beginQuit()
	}
	return false
}

func (l *live) cut() {
	l.mu.Lock()
	was := l.cutAt
	if was.IsZero() {
		l.cutAt = time.Now()
	}
	l.mu.Unlock()
	if was.IsZero() {
		l.cloud.Gate().BlackHole()
		l.tell("the link is cut: a black hole, nobody says so")
	}
}

// restoreLink lets a device raise an alarm, mends the link and sees who comes
// first.
func (l *live) restoreLink(ctx context.Context) {
	l.mu.Lock()
	was := l.cutAt
	l.cutAt = time.Time{}
	l.mu.Unlock()
	if was.IsZero() {
		return
	}
	l.task(func() error {
		device := l.fleet.Names()[0]
		l.mu.Lock()
		l.alarms++
		number := l.alarms
		l.mu.Unlock()
		raising, cancel := context.WithTimeout(ctx, denyTime)
		defer cancel()
		err := l.fleet.Alarm(raising, 0)
		l.mend()
		restored := time.Now()
		l.tell("the link is back after %s", clock(restored.Sub(was)))
		if err != nil {
			return nil // the gateway was just killed: no alarm, and the view shows why
		}
		for deadline := restored.Add(alarmTime); pause(ctx, 5*time.Millisecond) == nil && time.Now().Before(deadline); {
			if l.cloud.Arrivals().Seen().Has(devices.AlarmSeries(device), number) {
				l.tell("the alarm of %s arrived after %.1f s, ahead of %s", device, time.Since(restored).Seconds(), messages(l.account().Lost))
				return nil
			}
		}
		return nil
	})
}

// mend takes the cut away. When the gateway has noticed it, what it had given up
// is reset first: the gate kept the CONNECT of every attempt, and the cloud would
// let each of those take over the link that lives.
func (l *live) mend() {
	s := l.status.Load()
	if s == nil || len(s.Upstreams) == 0 || s.Upstreams[0].Link != telemetry.LinkUp {
		l.cloud.Gate().Cut()
	}
	l.cloud.Gate().Restore()
}

// power kills the gateway and starts it again.
func (l *live) power(ctx context.Context) {
	l.mu.Lock()
	busy := l.busy
	l.busy = true
	l.mu.Unlock()
	if busy {
		return
	}
	l.task(func() error {
		spooled := l.account().Lost
		took, err := l.restart(ctx)
		l.mu.Lock()
		l.busy = false
		l.mu.Unlock()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		l.tell("the gateway was killed with %s spooled, and takes devices again after %d ms", messages(spooled), took.Milliseconds())
		return nil
	})
}

// deny lets a device publish as another, and shows the answer and the
// statement behind it.
func (l *live) deny(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, denyTime)
	defer cancel()
	r, err := l.fleet.Break(ctx, 1)
	if err != nil {
		l.tell("no device could try: is the gateway up?")
		return nil
	}
	answer := fmt.Sprintf("PUBACK 0x%02x", r.Code)
	if r.Code == 0 {
		answer = "its connection was closed"
	}
	why := r.Reason
	if s, err := l.gateway.status(ctx); err == nil {
		for _, d := range s.Drops {
			if d.Device == r.Device && d.Topic == r.Topic && d.Detail != "" {
				why = d.Detail
			}
		}
	}
	l.tell("%s published to %s: %s", r.Device, r.Topic, answer)
	if why != "" {
		l.tell("  %s", printable(why))
	}
	return nil
}

// beginQuit stops the devices and mends the link: what is spooled drains.
func (l *live) beginQuit() {
	l.fleet.Pace(0, 0)
	l.mend()
	waiting := l.account().Lost
	l.mu.Lock()
	l.quit, l.cutAt = true, time.Time{}
	l.mu.Unlock()
	if waiting > 0 {
		l.tell("the devices have stopped, %s on the way; q again leaves the rest in the spool", messages(waiting))
	}
}

func (l *live) quitting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quit
}

// drainedOut reports whether the demo is quitting and nothing waits any more.
func (l *live) drainedOut() bool {
	s := l.fleet.Stats()
	return l.quitting() && s.Acked >= s.Sent && l.account().Lost == 0
}
