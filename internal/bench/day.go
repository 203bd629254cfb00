package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// The small site of (f): what it writes in a day wears out the flash.
const (
	siteDevices = 20
	siteRate    = 20 // messages a second, all devices together
	siteVolume  = 512 << 20
	siteWarmUp  = 5 * time.Second
	eMMCBytes   = 16e9
	eMMCCycles  = 3000
	gigabyte    = 1e9
	daysAYear   = 365.25
)

// site is one setting of the small site.
type site struct {
	delay time.Duration // spool.commit_delay
	live  bool          // its cloud is there
	bytes *figure
}

// measureDay is the second half of (f): the bytes that a small site writes in a
// day, extrapolated, with the cloud away and there. The settings run at the same
// time, each on a volume of its own; they are too slow to be in each other's way.
func (b *bench) measureDay(ctx context.Context) error {
	var sites []site
	for _, live := range []bool{true, false} {
		where := map[bool]string{true: "to the cloud", false: "cloud away"}[live]
		for _, delay := range []time.Duration{0, 50 * time.Millisecond, time.Second} {
			f := b.report.add(figure{Item: "f", What: fmt.Sprintf("written a day, %d devices × 1/s, %s, commit_delay %v", siteDevices, where, delay), Unit: "GB"})
			sites = append(sites, site{delay, live, f})
		}
	}
	b.note("f: a day is extrapolated from %v; years are those of an eMMC of 16 GB with 3,000 cycles, if it wrote no more than it is given. The payload is %s GB a day.",
		b.Day, number(siteRate*payloadSize*86400/gigabyte))
	err := b.eachRun(ctx, partDay, func(run string) error {
		took := make([]float64, len(sites))
		g, ctx := errgroup.WithContext(ctx)
		for i, s := range sites {
			g.Go(func() (err error) { took[i], err = b.dayOf(ctx, s); return err })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i, s := range sites {
			s.bytes.Ours = append(s.bytes.Ours, took[i])
		}
		b.say("%s: GB a day: %.3g", run, took)
		return nil
	})
	for _, s := range sites {
		if perDay := median(s.bytes.Ours); perDay > 0 {
			s.bytes.Note = number(eMMCBytes*eMMCCycles/(perDay*gigabyte)/daysAYear) + " years"
		}
	}
	return err
}

// dayOf makes one run of one setting and returns gigabytes a day.
func (b *bench) dayOf(ctx context.Context, s site) (_ float64, err error) {
	v, err := newVolume(ctx, b.work, siteVolume)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	o := gatewayOptions{commitDelay: s.delay}
	if s.live {
		cloud, err := openMosquitto(ctx, b.work, bridged{}, inFlight)
		if err != nil {
			return 0, err
		}
		defer cloud.close()
		o.cloud = cloud.addr
	}
	g, err := openGateway(ctx, b.ebbgate, v.dir, o)
	if err != nil {
		return 0, err
	}
	defer g.kill()
	p, err := newPace(ctx, g.addr, siteDevices, siteRate)
	if err != nil {
		return 0, g.failed(err)
	}
	defer p.close()
	if _, err := p.run(ctx, siteWarmUp); err != nil {
		return 0, g.failed(err)
	}
	// Without a volume of its own only the kernel's account of the process tells.
	written := v.written
	if !v.counted() {
		s.bytes.Unit = "GB (write_bytes)"
		written = func() (int64, error) { return readWriteBytes(g.pid()) }
	}
	from, err := written()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := p.run(ctx, b.Day); err != nil {
		return 0, g.failed(err)
	}
	to, err := written()
	if err != nil {
		return 0, err
	}
	return float64(to-from) / time.Since(start).Seconds() * 86400 / gigabyte, nil
}
