package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// measureFiles is what four large files at once cost the gateway, its disk, and
// the messages of the others.
func (b *bench) measureFiles(ctx context.Context) error {
	rate := b.report.add(figure{
		Item: "file", What: fmt.Sprintf("%d devices send %s MB each", fileDevices, number(float64(b.FileOfFour)/megabyte)), Unit: "MB/s",
		With: "by mosquitto to files, synced at the end", Bound: bound{ratioAtLeast, fileRatio},
	})
	cost := b.addCost()
	f := newFilm(b.FileOfFour, filesSeed)
	return b.eachRun(ctx, partFiles, func(run string) error {
		r, err := b.beside(ctx, f)
		if err != nil {
			return err
		}
		ours, err := b.sendFiles(ctx, f, fileDevices)
		if err != nil {
			return err
		}
		_, peer, err := b.copyFiles(ctx, f, fileDevices)
		if err != nil {
			return err
		}
		rate.Ours, rate.Peer = append(rate.Ours, ours), append(rate.Peer, peer)
		cost.take(r, f)
		b.say("%s: %s MB/s, mosquitto %s MB/s; %v", run, number(ours), number(peer), r)
		return nil
	})
}

// measureShuffled is what the same files cost when their segments come in no order:
// each is read for its checksum, and copied to where it is exported.
func (b *bench) measureShuffled(ctx context.Context) error {
	b.note("file, in no order: the segments of each file are shuffled; PUBACKs of telemetry are measured until the last file is exported.")
	rate := b.report.add(figure{
		Item: "file", What: fmt.Sprintf("%d devices send %s MB each in no order, beside telemetry", fileDevices, number(float64(b.FileOfFour)/megabyte)), Unit: "MB/s",
	})
	cost := b.addCost()
	f := newFilm(b.FileOfFour, filesSeed)
	f.shuffle()
	return b.eachRun(ctx, partShuffled, func(run string) error {
		r, err := b.beside(ctx, f)
		if err != nil {
			return err
		}
		rate.Ours = append(rate.Ours, r.rate)
		cost.take(r, f)
		b.say("%s: %v", run, r)
		return nil
	})
}

// filesCost are the figures of what files cost.
type filesCost struct{ anon, peak, after, p99 *figure }

func (b *bench) addCost() filesCost {
	add := func(what, unit, with string, bound bound) *figure {
		return b.report.add(figure{Item: "file", What: what, Unit: unit, With: with, Bound: bound})
	}
	b.note("file: telemetry is %s messages a second of %d devices, while the files come, and for %v before and %v behind them; disk is all that the gateway's folder occupies, files that are removed but open too, and is looked at once exported for up to %v.",
		number(pacedRate), filesDevices, besideTime, besideTime, exportTime)
	return filesCost{
		anon:  add("  RssAnon, most", "MB", "", bound{valueAtMost, filesAnon}),
		peak:  add("  disk, most", "MB", "the files", bound{ratioAtMost, filesPeak}),
		after: add("  disk once exported", "MB", "the files", bound{ratioAtMost, filesAfter}),
		p99:   add("  PUBACK p99 of telemetry beside it", "ms", "without it", bound{ratioAtMost, filesLatency}),
	}
}

// take adds a run.
func (c *filesCost) take(r besideFiles, f *film) {
	total := float64(f.size) * fileDevices / megabyte
	c.anon.Ours = append(c.anon.Ours, r.anon)
	c.peak.Ours, c.peak.Peer = append(c.peak.Ours, r.peak), append(c.peak.Peer, total)
	c.after.Ours, c.after.Peer = append(c.after.Ours, r.after), append(c.after.Peer, total)
	c.p99.Ours, c.p99.Peer = append(c.p99.Ours, r.p99), append(c.p99.Peer, r.quiet)
}

// besideFiles is what one transfer of four files has cost.
type besideFiles struct {
	quiet, p99        float64 // ms
	exporting         float64 // ms: p99 once the last fin was answered; 0: all was exported then
	rate              float64 // MB/s
	anon, peak, after float64 // MB
}

// String implements fmt.Stringer.
func (r besideFiles) String() string {
	return fmt.Sprintf("beside telemetry %s MB/s; RssAnon %s MB, disk %s MB, then %s MB; telemetry p99 %s ms, of it %s ms once the last fin was answered, without files %s ms",
		number(r.rate), number(r.anon), number(r.peak), number(r.after), number(r.p99), number(r.exporting), number(r.quiet))
}

// beside sends four files while others send telemetry.
func (b *bench) beside(ctx context.Context, f *film) (r besideFiles, err error) {
	if err := b.warm(f, fileDevices); err != nil {
		return r, err
	}
	g, err := openGateway(ctx, b.ebbgate, b.work, gatewayOptions{set: fileSettings})
	if err != nil {
		return r, err
	}
	defer g.close()
	defer func() {
		if err != nil {
			err = g.failed(err)
		}
	}()
	p, err := newPaceFrom(ctx, g.addr, fileDevices, filesDevices, pacedRate)
	if err != nil {
		return r, err
	}
	defer p.close()
	// What was removed before is still being given back to the disk: the first run is
	// not of a gateway without files.
	if _, err := p.run(ctx, telemetryTime); err != nil {
		return r, err
	}
	quiet, err := p.run(ctx, besideTime)
	if err != nil {
		return r, err
	}
	anon, disk, start := watchMemory(ctx, g.pid()), watchDisk(ctx, g), time.Now()
	during, err := p.during(ctx, func() error {
		err := b.uploadBeside(ctx, g.addr, f)
		r.rate = float64(f.size) * fileDevices / megabyte / time.Since(start).Seconds()
		return err
	})
	var after []time.Duration
	if err == nil {
		after, err = p.during(ctx, func() error { return g.exports(ctx, fileDevices, finTime) })
	}
	if len(after) > 0 {
		r.exporting = quantile(milliseconds(after), 0.99)
	}
	during = append(slices.Clone(during), after...)
	m, memoryErr := anon()
	most, diskErr := disk()
	if err := cmp.Or(err, memoryErr, diskErr); err != nil {
		return r, err
	}
	r.p99, r.anon, r.peak = quantile(milliseconds(during), 0.99), m.anon(), most/megabyte
	if r.after, err = g.settles(ctx, filesAfter*float64(f.size)*fileDevices); err != nil {
		return r, err
	}
	// The disk is not the same from minute to minute: what is without files is so before
	// them and behind them.
	behind, err := p.run(ctx, besideTime)
	if err != nil {
		return r, err
	}
	r.quiet = quantile(milliseconds(slices.Concat(quiet, behind)), 0.99)
	return r, g.holds(f, fileDevices)
}

// uploadMode makes this program the devices that send four files: a child, or
// what is measured beside it would wait for this process's own turns.
const uploadMode = "upload"

func runUpload(ctx context.Context, addr, size, order string) error {
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return err
	}
	f := newFilm(n, filesSeed)
	if order == orderShuffled {
		f.shuffle()
	}
	_, err = uploadAll(ctx, addr, f, fileDevices)
	return err
}

// The orders in which a child sends the segments.
const (
	orderPlain    = "plain"
	orderShuffled = "shuffled"
)

func (b *bench) uploadBeside(ctx context.Context, addr string, f *film) error {
	order := orderPlain
	if f.order != nil {
		order = orderShuffled
	}
	return b.asChild(ctx, uploadMode, addr, strconv.FormatInt(f.size, 10), order)
}

// asChild runs this program in another of its parts, and waits for its end.
func (b *bench) asChild(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, b.self, args...)
	cmd.SysProcAttr = childAttr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// during keeps up the load until fn returns, and tells how long each PUBACK took
// meanwhile.
func (p *pace) during(ctx context.Context, fn func() error) (all []time.Duration, err error) {
	var g errgroup.Group
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		return fn()
	})
	for {
		took, err := p.run(ctx, 500*time.Millisecond)
		if err != nil {
			return nil, cmp.Or(g.Wait(), err)
		}
		select {
		case <-ended: // that run was half without
			return all, g.Wait()
		default:
			all = append(all, took...)
		}
	}
}

// settles waits until the gateway occupies no more than enough, and tells how much
// it does then, or in the end, in MB.
func (g *gateway) settles(ctx context.Context, enough float64) (float64, error) {
	for deadline := time.Now().Add(exportTime); ; {
		n, err := g.occupies()
		if err != nil || float64(n) <= enough || time.Now().After(deadline) {
			return float64(n) / megabyte, err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// occupies is what the gateway's files take of the disk, in bytes: those in its
// folder, and those that it has removed and still holds open.
func (g *gateway) occupies() (int64, error) {
	total, err := diskUsage(g.data)
	if err != nil {
		return 0, err
	}
	fds := fmt.Sprintf("/proc/%d/fd", g.pid())
	entries, err := os.ReadDir(fds)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		name := filepath.Join(fds, e.Name())
		to, err := os.Readlink(name)
		if err != nil || !strings.HasPrefix(to, g.data) || !strings.HasSuffix(to, " (deleted)") {
			continue // it has been closed meanwhile, or is counted
		}
		var info fs.FileInfo
		if info, err = os.Stat(name); err == nil {
			total += info.Sys().(*syscall.Stat_t).Blocks * sectorSize
		}
	}
	return total, nil
}

// watchDisk samples what the gateway occupies until stop is called, which returns
// the most that was seen, in bytes.
func watchDisk(ctx context.Context, g *gateway) (stop func() (float64, error)) {
	ctx, cancel := context.WithCancel(ctx)
	var most int64
	var watch errgroup.Group
	watch.Go(func() error {
		for {
			n, err := g.occupies()
			if err != nil {
				return err
			}
			if most = max(most, n); pause(ctx, 50*time.Millisecond) != nil {
				return nil
			}
		}
	})
	return func() (float64, error) {
		cancel()
		err := watch.Wait()
		return float64(most), err
	}
}
