package main

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// payloadSize is that of every message, in bytes.
const payloadSize = 256

// window is how many messages a publisher has in flight: AWS's Receive Maximum.
const window = 100

// manyDevices is the number of publishers where it is not one.
const manyDevices = 50

// starters are the publishers beyond them that the measurement of starts needs.
const starters = 2

// fleet is a number of publishers at one broker.
type fleet []*publisher

// newFleet connects n publishers.
func newFleet(ctx context.Context, addr string, n int) (fleet, error) {
	var f fleet
	for i := range n {
		p, err := newPublisher(ctx, addr, i, window)
		if err != nil {
			f.close()
			return nil, err
		}
		f = append(f, p)
	}
	return f, nil
}

func (f fleet) close() {
	for _, p := range f {
		p.close()
	}
}

func (f fleet) acked() (n uint64) {
	for _, p := range f {
		n += p.acked.Load()
	}
	return n
}

// publish publishes n messages together and returns when all are acknowledged.
func (f fleet) publish(ctx context.Context, n int) error {
	return f.each(ctx, n, new(atomic.Bool))
}

func (f fleet) each(ctx context.Context, n int, stop *atomic.Bool) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range f {
		share := uint64(n / len(f))
		if i < n%len(f) {
			share++
		}
		g.Go(func() error { return p.publish(ctx, share, stop) })
	}
	return g.Wait()
}

// rate publishes at full speed and returns the acknowledgements a second,
// counted for the given time after a warm-up of a quarter of it. begin and end
// are called when counting begins and ends.
func (f fleet) rate(ctx context.Context, d time.Duration, begin, end func()) (float64, error) {
	stop := new(atomic.Bool)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.each(ctx, math.MaxInt, stop) })
	if err := pause(ctx, d/4); err != nil {
		return 0, g.Wait()
	}
	begin()
	from, at := f.acked(), time.Now()
	err := pause(ctx, d)
	n, took := f.acked()-from, time.Since(at)
	end()
	stop.Store(true)
	if failed := g.Wait(); failed != nil {
		return 0, failed
	}
	return float64(n) / took.Seconds(), err
}

// pause waits, or returns ctx's error when it ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
