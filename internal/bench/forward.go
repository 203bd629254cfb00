package main

import (
	"context"
	"time"
)

// linkTime is how long a gateway or bridge may take to connect to a cloud that
// is there, before the load begins.
const linkTime = time.Second

// measureForward is (b): device → gateway → cloud, against mosquitto bridging
// to the same cloud. The clock runs from the first message sent to the last
// that arrives at a subscriber of the cloud, so that a queue in between gains
// nobody anything.
func (b *bench) measureForward(ctx context.Context) error {
	through := b.report.add(figure{Item: "b", What: "device → gateway → cloud", Unit: "/s", With: "mosquitto bridging", Bound: bound{ratioAtLeast, 0.7}, Note: "1.0 is the aim"})
	intake := b.report.add(figure{What: "  PUBACKs meanwhile", Unit: "/s", With: "mosquitto"})
	cpu := b.report.add(figure{What: "  processor time a message", Unit: "µs", With: "mosquitto"})
	cloud := b.report.add(figure{What: "  that of the cloud", Unit: "µs", With: "mosquitto bridging", Note: "one thread"})
	b.note("b: %d publishers send %s messages at full speed; messages a second from the first sent to the last at a subscriber of the cloud, a mosquitto. The gateway syncs, adds its origin as user properties, releases and meters.",
		manyDevices, number(float64(b.Forwarded)))
	return b.eachRun(ctx, partForward, func(run string) error {
		ours, err := b.forward(ctx, b.gatewayEdge)
		if err != nil {
			return err
		}
		peer, err := b.forward(ctx, b.mosquittoEdge)
		if err != nil {
			return err
		}
		through.Ours, through.Peer = append(through.Ours, ours.rate), append(through.Peer, peer.rate)
		intake.Ours, intake.Peer = append(intake.Ours, ours.acks), append(intake.Peer, peer.acks)
		cpu.Ours, cpu.Peer = append(cpu.Ours, ours.cpu), append(cpu.Peer, peer.cpu)
		cloud.Ours, cloud.Peer = append(cloud.Ours, ours.cloud), append(cloud.Peer, peer.cloud)
		b.say("%s: gateway %s/s, mosquitto %s/s", run, number(ours.rate), number(peer.rate))
		return nil
	})
}

// edge is a gateway or a bridging mosquitto.
type edge struct {
	*child
	addr  string
	close func()
}

// opener opens an edge whose cloud is at an address.
type opener func(ctx context.Context, cloud string) (*edge, error)

func (b *bench) gatewayEdge(ctx context.Context, cloud string) (*edge, error) {
	g, err := openGateway(ctx, b.ebbgate, b.work, gatewayOptions{cloud: cloud})
	if err != nil {
		return nil, err
	}
	return &edge{g.child, g.addr, g.close}, nil
}

func (b *bench) mosquittoEdge(ctx context.Context, cloud string) (*edge, error) {
	return b.bridge(ctx, bridged{address: cloud}, inFlight)
}

func (b *bench) bridge(ctx context.Context, to bridged, inFlight int) (*edge, error) {
	m, err := openMosquitto(ctx, b.work, to, inFlight)
	if err != nil {
		return nil, err
	}
	return &edge{m.child, m.addr, m.close}, nil
}

// passage is what one run of (b) or (c) measured of an edge.
type passage struct {
	rate  float64 // messages a second at the subscriber
	acks  float64 // PUBACKs a second at the publishers
	cpu   float64 // processor time of the edge, µs a message
	cloud float64 // that of the cloud
}

// forward makes one run of (b).
func (b *bench) forward(ctx context.Context, open opener) (p passage, err error) {
	cloud, err := openMosquitto(ctx, b.work, bridged{}, inFlight)
	if err != nil {
		return p, err
	}
	defer cloud.close()
	e, err := open(ctx, cloud.addr)
	if err != nil {
		return p, err
	}
	defer e.close()
	sub, err := newSubscriber(ctx, cloud.addr, b.Forwarded)
	if err != nil {
		return p, cloud.failed(err)
	}
	defer sub.close()
	if err := pause(ctx, linkTime); err != nil {
		return p, err
	}
	spent, err := startClock(e, cloud)
	if err != nil {
		return p, err
	}
	start := time.Now()
	if err := b.fill(ctx, e.child, e.addr, b.Forwarded); err != nil {
		return p, err
	}
	acked := time.Since(start)
	_, last, err := sub.wait(ctx)
	if err != nil {
		return p, e.failed(err)
	}
	n := float64(b.Forwarded)
	p.rate, p.acks = n/last.Sub(start).Seconds(), n/acked.Seconds()
	p.cpu, p.cloud, err = spent(b.Forwarded)
	return p, err
}

// startClock reads the processor time of an edge and its cloud; the function
// that it returns tells what they have spent since, in microseconds a message.
func startClock(edge, cloud process) (spent func(n int) (float64, float64, error), err error) {
	edgeFrom, err := readCPU(edge.pid())
	if err != nil {
		return nil, err
	}
	cloudFrom, err := readCPU(cloud.pid())
	if err != nil {
		return nil, err
	}
	return func(n int) (float64, float64, error) {
		edgeTo, err := readCPU(edge.pid())
		if err != nil {
			return 0, 0, err
		}
		cloudTo, err := readCPU(cloud.pid())
		return perMessage(edgeTo-edgeFrom, n), perMessage(cloudTo-cloudFrom, n), err
	}, nil
}

// process is what spends processor time.
type process interface{ pid() int }

// perMessage is a processor time spread over n messages, in microseconds.
func perMessage(cpu time.Duration, n int) float64 {
	return cpu.Seconds() * 1e6 / float64(n)
}

// fill publishes n messages of manyDevices publishers at full speed.
func (b *bench) fill(ctx context.Context, c *child, addr string, n int) error {
	f, err := newFleet(ctx, addr, manyDevices)
	if err != nil {
		return c.failed(err)
	}
	defer f.close()
	if err := f.publish(ctx, n); err != nil {
		return c.failed(err)
	}
	return nil
}
