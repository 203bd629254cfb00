package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// measureIntake is (a): PUBACKs a second, the gateway's synced and its cloud
// away, against mosquitto's for messages that nobody subscribes to.
func (b *bench) measureIntake(ctx context.Context) error {
	type load struct {
		publishers     int
		rate, cpu, top *figure
	}
	loads := []load{{publishers: manyDevices}, {publishers: 1}}
	for i := range loads {
		l := &loads[i]
		limit, name := 1.0, fmt.Sprintf("%d publishers", l.publishers)
		if l.publishers == 1 {
			limit, name = 0.6, fmt.Sprintf("one publisher, %d in flight", window)
		}
		l.rate = b.report.add(figure{Item: "a", What: "durable intake, " + name, Unit: "/s", With: "mosquitto", Bound: bound{ratioAtLeast, limit}})
		l.cpu = b.report.add(figure{Item: "", What: "  processor time a message", Unit: "µs", With: "mosquitto"})
		l.top = b.report.add(figure{Item: "", What: "  ceiling of the load itself", Unit: "/s", Note: "against a server that only acknowledges"})
	}
	b.note("a: the gateway acknowledges what is synced; its cloud is away. mosquitto acknowledges without durability, and nobody subscribes: it keeps nothing.")
	return b.eachRun(ctx, partRate, func(run string) error {
		for _, l := range loads {
			ours, ourCPU, err := b.gatewayIntake(ctx, l.publishers)
			if err != nil {
				return err
			}
			peer, peerCPU, err := b.mosquittoIntake(ctx, l.publishers)
			if err != nil {
				return err
			}
			top, err := b.sinkIntake(ctx, l.publishers)
			if err != nil {
				return err
			}
			l.rate.Ours, l.rate.Peer = append(l.rate.Ours, ours), append(l.rate.Peer, peer)
			l.cpu.Ours, l.cpu.Peer = append(l.cpu.Ours, ourCPU), append(l.cpu.Peer, peerCPU)
			l.top.Ours = append(l.top.Ours, top)
			b.say("%s: %d publishers: gateway %s/s, mosquitto %s/s, ceiling %s/s", run, l.publishers, number(ours), number(peer), number(top))
		}
		return nil
	})
}

func (b *bench) gatewayIntake(ctx context.Context, publishers int) (rate, cpu float64, err error) {
	g, err := openGateway(ctx, b.ebbgate, b.work, gatewayOptions{})
	if err != nil {
		return 0, 0, err
	}
	defer g.close()
	return b.intakeOf(ctx, g.child, g.addr, publishers)
}

func (b *bench) mosquittoIntake(ctx context.Context, publishers int) (rate, cpu float64, err error) {
	m, err := openMosquitto(ctx, b.work, bridged{}, inFlight)
	if err != nil {
		return 0, 0, err
	}
	defer m.close()
	return b.intakeOf(ctx, m.child, m.addr, publishers)
}

func (b *bench) sinkIntake(ctx context.Context, publishers int) (float64, error) {
	addr, err := freeAddr()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(b.work, sinkMode+"-")
	if err != nil {
		return 0, err
	}
	c := &child{name: sinkMode, dir: dir, argv: []string{b.self, sinkMode, addr}}
	if err := c.start(ctx); err != nil {
		return 0, err
	}
	defer c.kill()
	if err := c.ready(ctx, addr); err != nil {
		return 0, err
	}
	rate, _, err := b.intakeOf(ctx, c, addr, publishers)
	return rate, err
}

// intakeOf measures a broker's acknowledgements a second, and the processor
// time that it takes for one, in microseconds.
func (b *bench) intakeOf(ctx context.Context, c *child, addr string, publishers int) (rate, cpu float64, err error) {
	f, err := newFleet(ctx, addr, publishers)
	if err != nil {
		return 0, 0, c.failed(err)
	}
	defer f.close()
	var from, to time.Duration
	var atFrom, atTo uint64
	rate, err = f.rate(ctx, b.Intake,
		func() { from, _ = readCPU(c.pid()); atFrom = f.acked() },
		func() { to, _ = readCPU(c.pid()); atTo = f.acked() })
	if err != nil {
		return 0, 0, c.failed(err)
	}
	return rate, perMessage(to-from, int(max(atTo-atFrom, 1))), nil
}
