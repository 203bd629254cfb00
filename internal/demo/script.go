package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ebbgate/ebbgate/internal/devices"
)

// Plan is what the script does.
type Plan struct {
	Devices  int
	Messages int           // of all devices together
	Outage   time.Duration // at least: it lasts until the spool is full enough to be killed
	Kills    int           // SIGKILLs; the last of two or more in the middle of the replay
}

// Result is what came of a plan. Acked is counted in the devices, Delivered in
// the cloud, both as sets of message ids.
type Result struct {
	Sent          int64       `json:"sent"`            // distinct messages
	Acked         int64       `json:"acked"`           // of them, with a PUBACK
	Delivered     int64       `json:"delivered"`       // of them, arrived in the cloud
	Lost          int64       `json:"lost"`            // acknowledged, never arrived
	Duplicates    int64       `json:"duplicates"`      // further arrivals of the same
	OutOfOrder    int64       `json:"out_of_order"`    // first arrivals behind a later one of their device
	SpooledAtKill []int64     `json:"spooled_at_kill"` // acknowledged and not arrived, at each kill
	PeakSpool     int64       `json:"peak_spool_messages"`
	Outage        seconds     `json:"outage_seconds"`
	Drain         seconds     `json:"drain_seconds"` // from the restored link to the last arrival
	Units         int64       `json:"units"`         // metered messages, as the gateway's ledger has them
	Uncertain     int64       `json:"uncertain_units"`
	CostUSD       json.Number `json:"cost_usd"`

	sample string // some that are lost
}

// OK reports whether every acknowledged message arrived, and in order.
func (r *Result) OK() bool { return r.Lost == 0 && r.OutOfOrder == 0 }

type seconds time.Duration

// MarshalJSON writes seconds with three decimals.
func (s seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", time.Duration(s).Seconds()), nil
}

// Enough is how much must be spooled for a kill to mean something.
const Enough = 5000

// Sizes of the script's messages: most are one metered message, every 40th two.
const (
	payloadBytes = 200
	bigEvery     = 40
	bigBytes     = 6000
)

const (
	deviceWindow = 20
	sampleEvery  = 10 * time.Millisecond
)

// warmUp is how long the messages before the cut take: any bridge keeps up.
const warmUp = 2 * time.Second

// Patience of the script.
const (
	phaseTime  = 2 * time.Minute  // for devices to be acknowledged what they may send
	stallTime  = 30 * time.Second // without an arrival: the rest is lost
	rivalStall = 8 * time.Second  // the same for a bridge that keeps what it lost in no spool
)

// Script runs the plan with Ebbgate, and tells its progress to w. The result may
// come with an error: that of a bill that does not agree with the cloud's count.
func Script(ctx context.Context, s Setup, p Plan, w io.Writer) (*Result, error) {
	return script(ctx, s, ebbgate, p, w)
}

func script(ctx context.Context, s Setup, who contender, p Plan, w io.Writer) (_ *Result, err error) {
	if p.Devices < 1 || p.Messages < 10*p.Devices || p.Messages%p.Devices != 0 {
		return nil, fmt.Errorf("demo: %d messages of %d devices: a multiple of the devices is needed, ten each or more", p.Messages, p.Devices)
	}
	r, err := openRig(ctx, s, who, devices.Options{
		Count: p.Devices, Messages: p.Messages / p.Devices, Window: deviceWindow,
		Payload: payloadBytes, BigEvery: bigEvery, BigBytes: bigBytes,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	act := &act{rig: r, plan: p, w: w, each: p.Messages / p.Devices, enough: int64(min(Enough, p.Messages/4))}
	r.task(func() error { return act.sample(ctx) })
	if err := act.play(ctx); err != nil {
		return nil, err
	}
	res, err := act.result(ctx)
	if err == nil && r.gateway != nil && res.OK() {
		err = act.audit(res)
	}
	return res, err
}

// act is one run of a plan.
type act struct {
	*rig
	plan   Plan
	w      io.Writer
	each   int // messages of a device
	enough int64

	peak          peak
	spooledAtKill []int64
	outage, drain time.Duration
}

// play goes through the phases: a tenth with the link up, eight tenths in the
// outage, the rest while the backlog drains.
func (a *act) play(ctx context.Context) error {
	before, during := a.each/10, a.each*9/10
	a.fleet.Pace(warmUp/time.Duration(before), before)
	a.connect()
	if err := a.acked(ctx, before); err != nil {
		return err
	}
	if err := a.arrived(ctx, int64(before*a.plan.Devices)); err != nil {
		return err
	}
	a.say("%d devices connected, %d messages through", a.plan.Devices, before*a.plan.Devices)

	a.cloud.Gate().BlackHole()
	cut := time.Now()
	a.say("the link is cut, by a black hole")
	a.fleet.Pace(a.plan.Outage*6/10/time.Duration(during-before), during)
	inOutage := a.plan.Kills
	if inOutage > 1 {
		inOutage--
	}
	backlog := int64((during - before) * a.plan.Devices)
	for k := range inOutage {
		at := a.enough + (backlog-a.enough)*int64(k+1)/int64(inOutage+1)
		if err := a.killAt(ctx, func() bool { return a.waiting() >= at }); err != nil {
			return err
		}
	}
	if err := a.acked(ctx, during); err != nil {
		return err
	}
	if err := pause(ctx, a.plan.Outage-time.Since(cut)); err != nil {
		return err
	}
	arrived := a.cloud.Arrivals().Counts().Distinct
	a.cloud.Gate().Restore()
	restored := time.Now()
	a.outage = restored.Sub(cut)
	a.say("the link is back after %.1f s, %d messages wait", a.outage.Seconds(), a.waiting())
	a.fleet.Pace(0, a.each)
	if a.plan.Kills > 1 {
		middle := arrived + backlog/4
		if err := a.killAt(ctx, func() bool { return a.cloud.Arrivals().Counts().Distinct >= middle }); err != nil {
			return err
		}
	}
	if err := a.acked(ctx, a.each); err != nil {
		return err
	}
	last, err := a.drained(ctx)
	a.drain = last.Sub(restored)
	return err
}

// killAt waits for a moment, and kills the contender then.
func (a *act) killAt(ctx context.Context, when func() bool) error {
	stall := a.stall()
	deadline := time.Now().Add(phaseTime)
	for seen, since := a.cloud.Arrivals().Counts().Messages, time.Now(); !when(); {
		if n := a.cloud.Arrivals().Counts().Messages; n != seen || a.cloud.Gate().Fault().BlackHole {
			seen, since = n, time.Now()
		}
		if time.Since(since) > stall || time.Now().After(deadline) {
			if a.gateway == nil {
				break // a rival that has nothing left is killed all the same
			}
			return errors.New("demo: the moment to kill the gateway never came")
		}
		if err := a.step(ctx); err != nil {
			return err
		}
	}
	spooled := a.account().Lost
	if spooled < a.enough && a.gateway != nil {
		return fmt.Errorf("demo: only %d messages were spooled at the moment to kill, fewer than %d: give it more messages", spooled, a.enough)
	}
	took, err := a.restart(ctx)
	if err != nil {
		return err
	}
	a.spooledAtKill = append(a.spooledAtKill, spooled)
	a.say("killed with %d messages spooled, ready again after %d ms", spooled, took.Milliseconds())
	return nil
}

// acked waits until every device has had so many messages acknowledged.
func (a *act) acked(ctx context.Context, each int) error {
	want := int64(each * a.plan.Devices)
	for deadline := time.Now().Add(phaseTime); a.fleet.Acked().Len() < want; {
		if time.Now().After(deadline) {
			return fmt.Errorf("demo: only %d of %d messages were acknowledged within %s", a.fleet.Acked().Len(), want, phaseTime)
		}
		if err := a.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// arrived waits until the cloud has so many distinct messages.
func (a *act) arrived(ctx context.Context, want int64) error {
	for deadline := time.Now().Add(phaseTime); a.cloud.Arrivals().Counts().Distinct < want; {
		if time.Now().After(deadline) {
			return fmt.Errorf("demo: only %d of %d messages arrived within %s", a.cloud.Arrivals().Counts().Distinct, want, phaseTime)
		}
		if err := a.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// drained waits until everything acknowledged has arrived, or nothing has for
// a while, and returns when the latest message came.
func (a *act) drained(ctx context.Context) (last time.Time, err error) {
	seen := int64(-1)
	for last = time.Now(); ; {
		if n := a.cloud.Arrivals().Counts().Messages; n != seen {
			seen, last = n, time.Now()
			if a.account().Lost == 0 {
				return last, nil
			}
		}
		if time.Since(last) > a.stall() {
			return last, nil
		}
		if err := a.step(ctx); err != nil {
			return last, err
		}
	}
}

func (a *act) stall() time.Duration {
	if a.gateway == nil {
		return rivalStall
	}
	return stallTime
}

// waiting is how much is acknowledged and has not arrived, at least.
func (a *act) waiting() int64 { return a.fleet.Acked().Len() - a.cloud.Arrivals().Counts().Distinct }

// step lets a moment pass, unless something has ended that should not.
func (a *act) step(ctx context.Context) error {
	if err := a.err(); err != nil {
		return err
	}
	if !a.edge.alive() {
		return fmt.Errorf("demo: %s ended by itself\n%s", a.edge.name, tail(a.edge.space.path("log")))
	}
	return pause(ctx, time.Millisecond)
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *act) say(format string, args ...any) { _, _ = fmt.Fprintf(a.w, format+"\n", args...) }
