package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// The bounds of (d) to (g). A megabyte is 1,000,000 bytes.
const (
	megabyte     = 1e6
	idleAnon     = 40  // MB
	fillingAnon  = 120 // MB
	startSeconds = 2
	writeFactor  = 2
	spaceAfter   = 64 // MB
	spaceTime    = 60 * time.Second
	idleTime     = 5 * time.Second // after which a process is taken to be idle
	volumeSpare  = 2 << 30         // of a volume, beside the payload's double
)

// backlog is what (d), (e), (f) and (g) measure around one backlog: filled,
// killed, started, stopped, started, drained.
type backlog struct {
	*bench
	idle, filling, after, idleRSS, fillingRSS, afterRSS *figure
	fillRate, device, kernel                            *figure
	killed, stopped, stopping                           *figure
	space, given, drained                               *figure
}

// measureBacklog is (d), (e), (g) and the first half of (f).
func (b *bench) measureBacklog(ctx context.Context) error {
	m := &backlog{bench: b}
	m.figures(number(float64(b.Spooled)))
	b.note("d to g: on an ext4 of its own on a loop device, or a plain folder when not root; MB are 1,000,000 bytes; every message of the backlog must arrive in the end. e: the files are in the page cache.")
	return b.eachRun(ctx, "d to g", func(run string) error {
		if err := m.gatewayRun(ctx, run); err != nil {
			return err
		}
		if !b.wants(partMemory) {
			return nil
		}
		return m.mosquittoRun(ctx)
	})
}

// figures makes the lines of the table that are wanted.
func (m *backlog) figures(n string) {
	line := func(part string, f figure) *figure {
		if !m.wants(part) {
			return &f
		}
		return m.report.add(f)
	}
	m.idle = line(partMemory, figure{Item: "d", What: "RssAnon idle", Unit: "MB", With: "mosquitto", Bound: bound{valueAtMost, idleAnon}})
	m.filling = line(partMemory, figure{Item: "d", What: "RssAnon while filling " + n + ", most", Unit: "MB", With: "mosquitto", Bound: bound{valueAtMost, fillingAnon}})
	m.after = line(partMemory, figure{Item: "d", What: "RssAnon after filling", Unit: "MB", With: "mosquitto", Bound: bound{valueAtMost, fillingAnon}})
	m.idleRSS = line(partMemory, figure{What: "  VmRSS idle", Unit: "MB", With: "mosquitto"})
	m.fillingRSS = line(partMemory, figure{What: "  VmRSS while filling, most", Unit: "MB", With: "mosquitto", Note: "mapped files too"})
	m.afterRSS = line(partMemory, figure{What: "  VmRSS after filling", Unit: "MB", With: "mosquitto", Note: "mapped files too"})
	m.killed = line(partStart, figure{Item: "e", What: "start to first PUBACK, after SIGKILL, " + n + " spooled", Unit: "s", Bound: bound{valueAtMost, startSeconds}})
	m.stopped = line(partStart, figure{Item: "e", What: "start to first PUBACK, after a clean stop", Unit: "s", Bound: bound{valueAtMost, startSeconds}})
	m.stopping = line(partStart, figure{What: "  the clean stop", Unit: "s"})
	m.device = line(partFill, figure{Item: "f", What: "bytes written at the device a byte of payload, filling", Unit: "×", Bound: bound{valueAtMost, writeFactor}})
	m.kernel = line(partFill, figure{What: "  by the kernel's account of the process", Unit: "×", Note: "/proc/PID/io write_bytes"})
	m.fillRate = line(partFill, figure{What: "  rate of filling", Unit: "/s", Note: "on the volume that is counted"})
	m.space = line(partSpace, figure{Item: "g", What: "du within 60 s of draining", Unit: "MB", Bound: bound{valueAtMost, spaceAfter}})
	m.given = line(partSpace, figure{What: "  until then", Unit: "s"})
	m.drained = line(partSpace, figure{What: "  rate of draining", Unit: "/s"})
}

// gatewayRun makes one run on a volume of its own.
func (m *backlog) gatewayRun(ctx context.Context, run string) (err error) {
	v, err := newVolume(ctx, m.work, int64(m.Spooled)*2*payloadSize*2+volumeSpare)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	cloud, err := freeAddr()
	if err != nil {
		return err
	}
	g, err := openGateway(ctx, m.ebbgate, v.dir, gatewayOptions{cloud: cloud})
	if err != nil {
		return err
	}
	defer g.kill()
	if err := m.fillGateway(ctx, g, v); err != nil {
		return err
	}
	m.say("%s: filled: RssAnon %s MB, most %s MB; %s × written", run, last(m.after), last(m.filling), last(m.device))
	spooled := m.Spooled
	if m.wants(partStart) {
		if err := m.restart(ctx, g); err != nil {
			return err
		}
		spooled += 2
		m.say("%s: started after %s s and %s s", run, last(m.killed), last(m.stopped))
	}
	if m.wants(partSpace) {
		if err := m.drain(ctx, g, cloud, spooled); err != nil {
			return err
		}
		m.say("%s: drained %s/s; %s MB left after %s s", run, last(m.drained), last(m.space), last(m.given))
	}
	return nil
}

func last(f *figure) string { return number(f.Ours[len(f.Ours)-1]) }

// fillGateway fills an idle gateway and takes its memory and what it writes.
func (m *backlog) fillGateway(ctx context.Context, g *gateway, v *volume) error {
	mem, err := m.settle(ctx, g.child)
	if err != nil {
		return err
	}
	m.idle.Ours, m.idleRSS.Ours = append(m.idle.Ours, mem.anon()), append(m.idleRSS.Ours, mem.total())
	from, err := v.written()
	if err != nil {
		return err
	}
	kernelFrom, err := readWriteBytes(g.pid())
	if err != nil {
		return err
	}
	peak, took, err := m.watchedFill(ctx, g.child, g.addr)
	if err != nil {
		return err
	}
	to, err := v.written()
	if err != nil {
		return err
	}
	kernelTo, err := readWriteBytes(g.pid())
	if err != nil {
		return err
	}
	if depth, err := g.depth(ctx); err != nil || depth != int64(m.Spooled) {
		return errors.Join(fmt.Errorf("%d messages were acknowledged, %d are spooled", m.Spooled, depth), err)
	}
	payload := float64(m.Spooled) * payloadSize
	m.filling.Ours, m.fillingRSS.Ours = append(m.filling.Ours, peak.anon()), append(m.fillingRSS.Ours, peak.total())
	m.device.Ours = append(m.device.Ours, float64(to-from)/payload)
	m.kernel.Ours = append(m.kernel.Ours, float64(kernelTo-kernelFrom)/payload)
	m.fillRate.Ours = append(m.fillRate.Ours, float64(m.Spooled)/took.Seconds())
	if !v.counted() {
		m.device.Note = "of the whole disk, others' writes too, for want of a volume: " + v.why
	}
	if mem, err = m.settle(ctx, g.child); err != nil {
		return err
	}
	m.after.Ours, m.afterRSS.Ours = append(m.after.Ours, mem.anon()), append(m.afterRSS.Ours, mem.total())
	return nil
}

// watchedFill fills a broker and returns the most memory that it held.
func (m *backlog) watchedFill(ctx context.Context, c *child, addr string) (memory, time.Duration, error) {
	stop := watchMemory(ctx, c.pid())
	start := time.Now()
	err := m.fill(ctx, c, addr, m.Spooled)
	took := time.Since(start)
	peak, failed := stop()
	return peak, took, errors.Join(err, failed)
}

// settle waits until a process is idle and returns its memory.
func (m *backlog) settle(ctx context.Context, c *child) (memory, error) {
	if err := pause(ctx, idleTime); err != nil {
		return memory{}, err
	}
	return readMemory(c.pid())
}

func (m memory) anon() float64  { return float64(m.Anon) / megabyte }
func (m memory) total() float64 { return float64(m.Total) / megabyte }

// mosquittoRun takes the memory of a mosquitto with the same backlog, for its
// bridge.
func (m *backlog) mosquittoRun(ctx context.Context) error {
	cloud, err := freeAddr()
	if err != nil {
		return err
	}
	e, err := m.mosquittoEdge(ctx, cloud)
	if err != nil {
		return err
	}
	defer e.close()
	mem, err := m.settle(ctx, e.child)
	if err != nil {
		return err
	}
	m.idle.Peer, m.idleRSS.Peer = append(m.idle.Peer, mem.anon()), append(m.idleRSS.Peer, mem.total())
	peak, _, err := m.watchedFill(ctx, e.child, e.addr)
	if err != nil {
		return err
	}
	m.filling.Peer, m.fillingRSS.Peer = append(m.filling.Peer, peak.anon()), append(m.fillingRSS.Peer, peak.total())
	if mem, err = m.settle(ctx, e.child); err != nil {
		return err
	}
	m.after.Peer, m.afterRSS.Peer = append(m.after.Peer, mem.anon()), append(m.afterRSS.Peer, mem.total())
	return nil
}

// restart takes the time of a start after SIGKILL and after a clean stop. Each
// start takes one more message.
func (m *backlog) restart(ctx context.Context, g *gateway) error {
	g.kill()
	took, err := m.startTime(ctx, g, manyDevices)
	if err != nil {
		return err
	}
	m.killed.Ours = append(m.killed.Ours, took.Seconds())
	start := time.Now()
	if err := g.stop(ctx); err != nil {
		return err
	}
	m.stopping.Ours = append(m.stopping.Ours, time.Since(start).Seconds())
	if took, err = m.startTime(ctx, g, manyDevices+1); err != nil {
		return err
	}
	m.stopped.Ours = append(m.stopped.Ours, took.Seconds())
	return nil
}

// startTime starts the gateway and returns how long it takes until a device,
// which is publisher index, has connected and has its first PUBACK.
func (m *backlog) startTime(ctx context.Context, g *gateway, index int) (time.Duration, error) {
	start := time.Now()
	if err := g.start(ctx); err != nil {
		return 0, err
	}
	conn, err := g.accept(ctx, g.addr, clientName(index))
	if err != nil {
		return 0, err
	}
	p := publisherOn(conn, index, 1)
	defer p.close()
	if err := (fleet{p}).publish(ctx, 1); err != nil {
		return 0, g.failed(err)
	}
	return time.Since(start), nil
}

// drain lets the cloud return, checks that all arrives, and takes the time
// until the space is given back.
func (m *backlog) drain(ctx context.Context, g *gateway, cloud string, spooled int) error {
	c, sub, err := m.cloudReturns(ctx, g.child, cloud, spooled, inFlight)
	if err != nil {
		return err
	}
	defer c.close()
	defer sub.close()
	first, end, err := sub.wait(ctx)
	if err != nil {
		return g.failed(err)
	}
	m.drained.Ours = append(m.drained.Ours, float64(spooled)/end.Sub(first).Seconds())
	least := math.Inf(1)
	for time.Since(end) < spaceTime {
		used, err := diskUsage(g.data)
		if err != nil {
			return err
		}
		if least = min(least, float64(used)/megabyte); least <= spaceAfter {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	m.space.Ours = append(m.space.Ours, least)
	m.given.Ours = append(m.given.Ours, time.Since(end).Seconds())
	return nil
}
