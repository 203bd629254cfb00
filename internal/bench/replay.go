package main

import (
	"context"
	"crypto/tls"
	"syscall"
	"time"
)

// measureReplay is (c): the replay of a backlog that grew while the cloud was
// away, against that of mosquitto's bridge, which holds it in memory.
func (b *bench) measureReplay(ctx context.Context) error {
	b.note("c: filled while the cloud is away; messages a second from the first to the last arrival at a subscriber of the cloud.")
	b.note("c: with %d in flight the gateway has no more, and mosquitto many more: its bridge does not keep to what it is told (github.com/eclipse-mosquitto/mosquitto/issues/2301). With %s at both, and at the cloud, neither waits for the other's acknowledgement.",
		inFlight, number(wide))
	what, many := "replay of "+number(float64(b.Replayed)), "replay of "+number(float64(b.Spooled))
	b.note("c: a cloud of several threads acknowledges and checks the order, and does nothing else; over TLS, as the way to a cloud is, the gateway and mosquitto check its certificate.")
	for _, r := range []replay{
		{partReplay, figure{Item: "c", What: what, Bound: bound{ratioAtLeast, 1}}, 1, inFlight, false, false},
		{partReplayWide, figure{Item: "c", What: what + ", 1,000 in flight", Bound: bound{ratioAtLeast, 1}}, 1, wide, false, false},
		{partReplayFour, figure{What: what + ", 4 connections", Bound: bound{ratioAtLeast, 1.5}}, 4, inFlight, false, false},
		{partReplayThreads, figure{What: many + " to a cloud of several threads"}, 1, wide, true, false},
		{partReplayFourThreads, figure{What: many + " to it, 4 connections"}, 4, wide, true, false},
		{partReplayTLS, figure{What: many + " to it over TLS", Bound: bound{ratioAtLeast, 1}}, 1, wide, true, true},
		{partReplayFourTLS, figure{What: many + " to it over TLS, 4 connections", Bound: bound{ratioAtLeast, 1.5}}, 4, wide, true, true},
	} {
		if err := b.replays(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// wide is a window that is never the limit on one machine.
const wide = 1000

// replay is one way of replaying.
type replay struct {
	part        string
	figure      figure
	connections int // of the gateway
	inFlight    int // of each, and of mosquitto

	threads bool // the cloud is a receiver, which only acknowledges; else a mosquitto with a subscriber
	tls     bool // on the way to it
}

// replayer is the gateway that replays so.
func (b *bench) replayer(r replay, k *keys) opener {
	return func(ctx context.Context, cloud string) (*edge, error) {
		g, err := openGateway(ctx, b.ebbgate, b.work, gatewayOptions{cloud: cloud, ca: k.ca, connections: r.connections, inFlight: r.inFlight})
		if err != nil {
			return nil, err
		}
		return &edge{g.child, g.addr, g.close}, nil
	}
}

// replays makes the runs of one of them.
func (b *bench) replays(ctx context.Context, r replay) error {
	if !b.wants(r.part) {
		return nil
	}
	what := r.figure
	what.Unit, what.With = "/s", "mosquitto's bridge"
	f := b.report.add(what)
	cpu := b.report.add(figure{What: "  processor time a message", Unit: "µs", With: "mosquitto"})
	note := "one thread"
	if r.threads {
		note = ""
	}
	cloud := b.report.add(figure{What: "  that of the cloud", Unit: "µs", With: "mosquitto's bridge", Note: note})
	k := new(keys)
	if r.tls {
		var err error
		if k, err = writeKeys(b.work); err != nil {
			return err
		}
	}
	return b.eachRun(ctx, r.part, func(run string) error {
		ours, err := b.replay(ctx, r, k.server, b.replayer(r, k))
		if err != nil {
			return err
		}
		peer, err := b.replay(ctx, r, k.server, func(ctx context.Context, cloud string) (*edge, error) {
			return b.bridge(ctx, bridged{cloud, k.ca}, r.inFlight)
		})
		if err != nil {
			return err
		}
		f.Ours, f.Peer = append(f.Ours, ours.rate), append(f.Peer, peer.rate)
		cpu.Ours, cpu.Peer = append(cpu.Ours, ours.cpu), append(cpu.Peer, peer.cpu)
		cloud.Ours, cloud.Peer = append(cloud.Ours, ours.cloud), append(cloud.Peer, peer.cloud)
		b.say("%s: gateway %s/s, mosquitto %s/s", run, number(ours.rate), number(peer.rate))
		return nil
	})
}

// replay makes one run of (c).
func (b *bench) replay(ctx context.Context, r replay, secure *tls.Config, open opener) (p passage, err error) {
	addr, err := freeAddr()
	if err != nil {
		return p, err
	}
	e, err := open(ctx, addr)
	if err != nil {
		return p, err
	}
	defer e.close()
	n := b.backlogOf(r)
	if err := b.fill(ctx, e.child, e.addr, n); err != nil {
		return p, err
	}
	cloud, err := b.cloudOf(ctx, r, secure, e.child, addr)
	if err != nil {
		return p, err
	}
	defer cloud.close()
	spent, err := startClock(e, cloud)
	if err != nil {
		return p, err
	}
	first, last, err := cloud.wait(ctx)
	if err != nil {
		return p, e.failed(err)
	}
	p.rate = float64(n) / last.Sub(first).Seconds()
	p.cpu, p.cloud, err = spent(n)
	return p, err
}

// backlogOf is how many messages are replayed: to a cloud of several threads so many that
// it takes seconds, as four connections come up one after the other.
func (b *bench) backlogOf(r replay) int {
	if r.threads {
		return b.Spooled
	}
	return b.Replayed
}

// returned is a cloud that is there again, and awaits what waits for it.
type returned interface {
	process
	wait(context.Context) (first, last time.Time, err error)
	close()
}

// cloudOf starts the cloud of a replay.
func (b *bench) cloudOf(ctx context.Context, r replay, secure *tls.Config, edge *child, addr string) (returned, error) {
	if r.threads {
		return receive(ctx, addr, b.backlogOf(r), secure)
	}
	cloud, sub, err := b.cloudReturns(ctx, edge, addr, b.Replayed, r.inFlight)
	if err != nil {
		return nil, err
	}
	return subscribed{sub, cloud}, nil
}

// subscribed is a mosquitto with its subscriber.
type subscribed struct {
	*subscriber
	cloud *broker
}

func (s subscribed) pid() int { return s.cloud.pid() }

func (s subscribed) close() {
	s.subscriber.close()
	s.cloud.close()
}

// cloudReturns starts a mosquitto where the edge's cloud was missing, with a
// subscriber that awaits n messages. The edge is stopped meanwhile, or it would
// be there before the subscriber.
func (b *bench) cloudReturns(ctx context.Context, edge *child, addr string, n, inFlight int) (cloud *broker, sub *subscriber, err error) {
	if err := edge.signal(syscall.SIGSTOP); err != nil {
		return nil, nil, err
	}
	if cloud, err = startMosquitto(ctx, b.work, addr, bridged{}, inFlight); err != nil {
		return nil, nil, err
	}
	started := cloud // the results are nil when it fails
	defer func() {
		if err != nil {
			started.close()
		}
	}()
	if err = cloud.ready(ctx, addr); err != nil {
		return nil, nil, err
	}
	if sub, err = newSubscriber(ctx, addr, n); err != nil {
		return nil, nil, cloud.failed(err)
	}
	if err = edge.signal(syscall.SIGCONT); err != nil {
		sub.close()
		return nil, nil, err
	}
	return cloud, sub, nil
}
