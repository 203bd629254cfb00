package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// pace is a load that keeps its rate whatever the answers do: each device
// publishes in its turn, at instants that were fixed before.
type pace struct {
	devices []*pacedDevice
	rate    int // messages a second, all devices together
}

// pacedDevice remembers when it sent what is not acknowledged yet.
type pacedDevice struct {
	conn  net.Conn
	ring  *ring
	sent  uint64
	acked uint64
	at    [pacedWindow]atomic.Int64 // by number: when it was sent, since the start
	took  []time.Duration
}

// pacedWindow bounds what a device may have in flight: at 20 messages a second
// and device, a hundred are five seconds.
const pacedWindow = 100

// newPace connects devices that publish rate messages a second together.
func newPace(ctx context.Context, addr string, devices, rate int) (*pace, error) {
	return newPaceFrom(ctx, addr, 0, devices, rate)
}

// newPaceFrom is newPace for devices of other numbers.
func newPaceFrom(ctx context.Context, addr string, first, devices, rate int) (*pace, error) {
	p := &pace{rate: rate}
	for i := first; i < first+devices; i++ {
		client := clientName(i)
		conn, err := connect(ctx, addr, client)
		if err != nil {
			p.close()
			return nil, err
		}
		p.devices = append(p.devices, &pacedDevice{conn: conn, ring: newRing(i, topicOf(client), pacedWindow)})
	}
	return p, nil
}

func (p *pace) close() {
	for _, d := range p.devices {
		_ = d.conn.Close()
	}
}

// run publishes for the given time and returns how long each PUBACK took, from
// the call that sends the message to the one that reads the answer.
func (p *pace) run(ctx context.Context, d time.Duration) ([]time.Duration, error) {
	n := uint64(d.Seconds()*float64(p.rate)) / uint64(len(p.devices))
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range p.devices {
		d.took = d.took[:0]
		g.Go(func() error { return d.await(ctx, start, d.acked+n) })
	}
	g.Go(func() error { return p.send(ctx, start, n) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []time.Duration
	for _, d := range p.devices {
		all = append(all, d.took...)
	}
	return all, nil
}

// send publishes n messages of each device in turn. It keeps a thread, so that
// its instants do not depend on the runtime's timers.
func (p *pace) send(ctx context.Context, start time.Time, n uint64) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	gap := time.Second / time.Duration(p.rate)
	for i := range n * uint64(len(p.devices)) {
		sleepUntil(start, time.Duration(i)*gap)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d := p.devices[i%uint64(len(p.devices))]
		if !d.at[d.sent%pacedWindow].CompareAndSwap(0, int64(time.Since(start))+1) {
			return fmt.Errorf("a device has %d messages in flight: the broker does not keep the rate", pacedWindow)
		}
		if _, err := d.conn.Write(d.ring.take(d.sent, 1)); err != nil {
			return err
		}
		d.sent++
	}
	return nil
}

// await reads acknowledgements until message end is next.
func (d *pacedDevice) await(ctx context.Context, start time.Time, end uint64) error {
	defer context.AfterFunc(ctx, func() { _ = d.conn.SetDeadline(time.Now()) })()
	var ack [4]byte
	for ; d.acked < end; d.acked++ {
		if _, err := io.ReadFull(d.conn, ack[:]); err != nil {
			return fmt.Errorf("awaiting the PUBACK of message %d: %w", d.acked, err)
		}
		now := int64(time.Since(start)) + 1
		if ack[0] != packetPubAck || binary.BigEndian.Uint16(ack[2:]) != d.ring.packetID(d.acked) {
			return fmt.Errorf("awaiting the PUBACK of message %d, got %x", d.acked, ack)
		}
		d.took = append(d.took, time.Duration(now-d.at[d.acked%pacedWindow].Swap(0)))
	}
	return nil
}
