package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/localbroker/upload"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/s3"
)

// files is file transfer from devices, with the target that it exports to.
type files struct {
	service *upload.Service
	target  fileTarget
	handed  *handed        // messages that become files
	pace    *upstream.Bulk // of a target elsewhere, else nil
	gate    *exportGate    // as pace
}

// fileTarget is one that is closed at the end.
type fileTarget interface {
	bridge.FileTarget
	io.Closer
}

// openFiles opens it, nil when it is not enabled. The spool is open, the broker
// not yet made.
func (g *gateway) openFiles() (*files, error) {
	o := g.cfg.FileTransfer
	if !o.Enabled {
		return nil, nil
	}
	f := &files{}
	err := f.openTarget(g, o.Export)
	if err != nil {
		return nil, err
	}
	deps := upload.Deps{
		Shelf: g.spool, Target: f.target, Drops: g.drops, Health: g.health, Log: g.log,
		Tell:     func(m *bridge.Message) { g.broker.Tell(m) },
		Messages: g.stats.accepted.Load,
		Wall: func() (time.Time, bool) {
			now := g.clock.Now()
			return now.Wall, now.Synced
		},
	}
	if f.pace != nil {
		deps.Open, deps.Held, deps.Pace = f.pace.Open, f.pace.Held, f.pace
	}
	if f.service, err = upload.Open(o.Upload(), deps); err != nil {
		_ = f.target.Close() // nothing has been written
		return nil, err
	}
	f.handed = newHanded(f.service, f.target, o)
	return f, nil
}

// openTarget opens the one that was chosen, and makes its pace.
func (f *files) openTarget(g *gateway, o configs.Export) (err error) {
	if o.Leaves() {
		if f.pace, err = f.exportPace(g, o); err != nil {
			return err
		}
	}
	switch o.To {
	case configs.ExportFolder:
		f.target, err = openFolder(o.Folder, roomOfExports(g.cfg).take, g.log, g.health)
	case configs.ExportS3:
		f.target, err = s3.Open(o.S3, g.spool, g.log, s3.Hooks{
			Carried: f.carriedFor(g, o.S3.Link),
			Request: func(operation string) { g.meter.Requested(cmp.Or(o.S3.Link, billOfS3), operation) },
			Pace:    f.pace,
		})
	case configs.ExportUpstream:
		f.target = g.openSentOn(o, f.pace)
	default:
		err = fmt.Errorf("file_transfer.export.to: %q is unknown", o.To) // a check has passed it
	}
	return err
}

// billOfS3 is the bill's line for S3 over a link that is no upstream's.
const billOfS3 = "s3"

// carriedFor meters bytes at sockets as those of an upstream's link, whose budget
// they use up too; they are S3's own when link is empty.
func (f *files) carriedFor(g *gateway, link string) func(bytes int) {
	meter := g.meter.Carrier(cmp.Or(link, billOfS3))
	return func(bytes int) {
		meter(bytes)
		f.gate.Carried(bytes)
		if clouds := g.links.Load(); clouds != nil {
			if c := (*clouds)[link]; c != nil && c.gate != nil {
				c.gate.Carried(bytes)
			}
		}
	}
}

func (f *files) families() []localbroker.Family {
	if f == nil {
		return nil
	}
	return []localbroker.Family{localbroker.Uploads(f.service)}
}

// state is file transfer in the gateway's status, nil when it is not enabled.
func (f *files) state() *telemetry.Files {
	if f == nil {
		return nil
	}
	s := f.service.Summary()
	return &telemetry.Files{Open: s.Open, Waiting: s.Waiting, Refused: s.Refused, Bytes: s.Bytes, OldestAge: s.OldestAge, Held: s.Held}
}

// run works until ctx ends, which is after the listeners have ended.
func (f *files) run(ctx context.Context) error {
	if f == nil {
		return nil
	}
	return f.service.Run(ctx)
}

func (f *files) close() error {
	if f == nil {
		return nil
	}
	return f.target.Close()
}
