package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// floodRatio is the least that is left of a device's rate while another does nothing
// but begin files.
const floodRatio = 0.5

// floods are the ways to keep a gateway busy without sending a file: what is
// published in turn, each with as much as init may say.
var floods = []struct {
	name   string
	topics []string
}{
	{"repeated", []string{"$file/flood/init"}},
	{"renewed", []string{"$file/flood/init", "$file/flood/abort"}},
}

// floodMeta is a payload of init of nearly 16 KiB.
var floodMeta = []byte(`{"name":"flood.bin","user_data":["` + strings.Repeat(`","`, 5000) + `"]}`)

// floodMode makes this program a device that floods.
const floodMode = "flood"

// runFlood floods until the connection or the program ends.
func runFlood(ctx context.Context, addr, name string) error {
	for _, f := range floods {
		if f.name == name {
			u, err := newUploader(ctx, addr, clientName(fileDevices), nil)
			if err != nil {
				return err
			}
			defer u.conn.Close()
			return u.flood(ctx, f.topics)
		}
	}
	return fmt.Errorf("no flood is called %q", name)
}

// flood publishes to topics in turn, with as much in flight as a file's segments.
func (u *uploader) flood(ctx context.Context, topics []string) error {
	defer u.until(ctx)()
	g, ctx := errgroup.WithContext(ctx)
	places := make(chan struct{}, fileWindow)
	g.Go(func() error {
		for i := 0; ; i++ {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			if err := u.publish(uint16(i%fileWindow)+1, topics[i%len(topics)], floodMeta); err != nil {
				return err
			}
		}
	})
	g.Go(func() error {
		for i := 0; ; i++ {
			if err := u.await(uint16(i%fileWindow) + 1); err != nil {
				return err
			}
			<-places
		}
	})
	return g.Wait()
}

// measureFlood is how fast one device sends a file while another floods the gateway
// with commands that bring nothing.
func (b *bench) measureFlood(ctx context.Context) error {
	var figures []*figure
	for _, f := range floods {
		figures = append(figures, b.report.add(figure{
			Item: "file", What: fmt.Sprintf("one device sends %s MB beside a flood of init, %s", number(float64(b.File)/megabyte), f.name), Unit: "MB/s",
			With: "without it", Bound: bound{ratioAtLeast, floodRatio},
		}))
	}
	b.note("file, beside a flood: another device has %d commands in flight all the time, init with %d bytes, the same again and again, or init and abort in turn.", fileWindow, len(floodMeta))
	f := newFilm(b.File, 1)
	return b.eachRun(ctx, partFlood, func(run string) error {
		alone, err := b.sendFiles(ctx, f, 1)
		if err != nil {
			return err
		}
		for i, of := range floods {
			rate, err := b.sendBesideFlood(ctx, f, of.name)
			if err != nil {
				return err
			}
			figures[i].Ours, figures[i].Peer = append(figures[i].Ours, rate), append(figures[i].Peer, alone)
			b.say("%s: %s MB/s, beside a flood of init, %s, %s MB/s", run, number(alone), of.name, number(rate))
		}
		return nil
	})
}

// floodTime is how long a flood runs before others are measured beside it.
const floodTime = time.Second

// sendBesideFlood is the rate, in MB/s, of one device beside a flood.
func (b *bench) sendBesideFlood(ctx context.Context, f *film, flood string) (float64, error) {
	if err := b.warm(f, 1); err != nil {
		return 0, err
	}
	g, err := openGateway(ctx, b.ebbgate, b.work, gatewayOptions{set: fileSettings})
	if err != nil {
		return 0, err
	}
	defer g.close()
	flooding, stop := context.WithCancel(ctx)
	defer stop()
	var others errgroup.Group
	others.Go(func() error { return b.asChild(flooding, floodMode, g.addr, flood) })
	if err := pause(ctx, floodTime); err != nil {
		return 0, err
	}
	took, err := uploadAll(ctx, g.addr, f, 1)
	stop()
	flooded := others.Wait()
	if err == nil && !killed(flooded) {
		err = fmt.Errorf("the flood has ended too early: %w", flooded)
	}
	if err == nil {
		err = g.exports(ctx, 1, exportTime)
	}
	if err == nil {
		err = g.holds(f, 1)
	}
	if err != nil {
		return 0, g.failed(err)
	}
	return float64(f.size) / megabyte / took.Seconds(), nil
}

// killed reports whether an error is that of a child that was killed.
func killed(err error) bool {
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := e.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
