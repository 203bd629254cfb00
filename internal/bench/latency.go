package main

import (
	"context"
	"fmt"
	"time"
)

// pacedRate is the load under which latency is measured, in messages a second.
const pacedRate = 1000

// latency is how long PUBACKs take in one setting, beside one sync in it.
type latency struct {
	delay    time.Duration // how much longer each sync takes
	p50, p99 *figure
	due      *figure // the p99 against syncs that count from when they were due; may be nil
}

// measureLatency is the second half of (a): how long a device waits for its
// PUBACK at 1,000 messages a second, against one sync; as the disk is, and with
// slower syncs.
func (b *bench) measureLatency(ctx context.Context) error {
	settings := []latency{{}, {delay: 5 * time.Millisecond}, {delay: 20 * time.Millisecond}}
	for i := range settings {
		s, name := &settings[i], "syncs as they are"
		if s.delay > 0 {
			name = fmt.Sprintf("syncs %v slower", s.delay)
		}
		s.p99 = b.report.add(figure{Item: "a", What: "PUBACK p99 at 1,000/s, " + name, Unit: "ms", With: "one sync, p99", Bound: bound{ratioAtMost, 2.5}})
		if s.delay == 0 { // a slower one cannot keep the pace without being for several messages
			s.due = b.report.add(figure{What: "  the same", Unit: "ms", With: "one sync from when it was due, p99"})
		}
		s.p50 = b.report.add(figure{What: "  median", Unit: "ms", With: "one sync, median"})
	}
	loose := b.report.add(figure{What: "  mosquitto's PUBACK p99, not durable", Unit: "ms", Note: "for comparison"})
	b.note("a: one sync is an fdatasync of %d bytes in reserved space, as a commit is one; it is sampled right before and right after each of the gateway's runs, at the same instants as messages come (%s a second), together for as long as the run lasts; it counts from its beginning, or, where that is said, from when it was due: messages that come during a slow sync wait for it. It is slowed, as the gateway's syncs are, by strace -f --seccomp-bpf -e inject=fsync,fdatasync,msync:delay_exit=…",
		syncSize, number(pacedRate))
	return b.eachRun(ctx, partLatency, func(run string) error {
		for _, s := range settings {
			if err := b.latencyOf(ctx, run, s); err != nil {
				return err
			}
		}
		m, err := openMosquitto(ctx, b.work, bridged{}, inFlight)
		if err != nil {
			return err
		}
		defer m.close()
		took, err := b.paced(ctx, m.child, m.addr)
		if err != nil {
			return err
		}
		loose.Ours = append(loose.Ours, quantile(took, 0.99))
		return nil
	})
}

// latencyOf makes one run of one setting.
func (b *bench) latencyOf(ctx context.Context, run string, s latency) error {
	samples := int(b.Paced.Seconds() * pacedRate) // as many as the run has messages: a second more or less of a disk tells little of its p99
	if s.delay > 0 {
		samples = b.SlowSamples
	}
	before, err := b.probeSyncs(ctx, b.work, s.delay, samples/2)
	if err != nil {
		return err
	}
	took, err := b.gatewayPaced(ctx, s.delay)
	if err != nil {
		return err
	}
	after, err := b.probeSyncs(ctx, b.work, s.delay, samples/2)
	if err != nil {
		return err
	}
	one := milliseconds(append(before, after...))
	if s.due != nil {
		due := milliseconds(append(fromDue(before, time.Second/pacedRate), fromDue(after, time.Second/pacedRate)...))
		s.due.Ours, s.due.Peer = append(s.due.Ours, quantile(took, 0.99)), append(s.due.Peer, quantile(due, 0.99))
	}
	s.p50.Ours, s.p50.Peer = append(s.p50.Ours, median(took)), append(s.p50.Peer, median(one))
	s.p99.Ours, s.p99.Peer = append(s.p99.Ours, quantile(took, 0.99)), append(s.p99.Peer, quantile(one, 0.99))
	b.say("%s: syncs +%v: PUBACK %s ms, p99 %s ms; one sync %s ms, p99 %s ms", run, s.delay,
		number(median(took)), number(quantile(took, 0.99)), number(median(one)), number(quantile(one, 0.99)))
	return nil
}

// fromDue is how long syncs took that each were due at an instant, one every gap, and
// waited for the one before: a slow sync is many a message's.
func fromDue(took []time.Duration, gap time.Duration) []time.Duration {
	out := make([]time.Duration, len(took))
	var end time.Duration
	for i, d := range took {
		due := time.Duration(i) * gap
		end = max(due, end) + d
		out[i] = end - due
	}
	return out
}

func (b *bench) gatewayPaced(ctx context.Context, syncDelay time.Duration) ([]float64, error) {
	g, err := openGateway(ctx, b.ebbgate, b.work, gatewayOptions{syncDelay: syncDelay})
	if err != nil {
		return nil, err
	}
	defer g.close()
	return b.paced(ctx, g.child, g.addr)
}

// paced measures a broker's PUBACKs in milliseconds, after a second of warm-up.
func (b *bench) paced(ctx context.Context, c *child, addr string) ([]float64, error) {
	p, err := newPace(ctx, addr, manyDevices, pacedRate)
	if err != nil {
		return nil, c.failed(err)
	}
	defer p.close()
	if _, err = p.run(ctx, time.Second); err != nil {
		return nil, c.failed(err)
	}
	took, err := p.run(ctx, b.Paced)
	if err != nil {
		return nil, c.failed(err)
	}
	return milliseconds(took), nil
}
