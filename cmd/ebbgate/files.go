package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/localbroker/upload"
	"github.com/ebbgate/ebbgate/upstream/folder"
	"github.com/ebbgate/ebbgate/upstream/s3"
)

// files is file transfer from devices, with the target that it exports to.
type files struct {
	service *upload.Service
	target  fileTarget
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
	target, err := g.openFileTarget(o.Export)
	if err != nil {
		return nil, err
	}
	f := &files{target: target}
	f.service, err = upload.Open(o.Upload(), upload.Deps{
		Shelf: g.spool, Target: target, Drops: g.drops, Health: g.health, Log: g.log,
		Tell: func(m *bridge.Message) { g.broker.Tell(m) },
		Wall: func() (time.Time, bool) {
			now := g.clock.Now()
			return now.Wall, now.Synced
		},
	})
	if err != nil {
		_ = target.Close() // nothing has been written
		return nil, err
	}
	return f, nil
}

// openFileTarget opens the one that was chosen.
func (g *gateway) openFileTarget(o configs.Export) (fileTarget, error) {
	switch o.To {
	case configs.ExportFolder:
		return folder.Open(o.Folder)
	case configs.ExportS3:
		return s3.Open(o.S3, g.spool, g.log, s3.Hooks{
			Carried: g.carriedFor(o.S3.Link),
			Request: func(operation string) { g.meter.Requested(cmp.Or(o.S3.Link, billOfS3), operation) },
		})
	}
	return nil, fmt.Errorf("file_transfer.export.to: %q is unknown", o.To) // a check has passed it
}

// billOfS3 is the bill's line for S3 over a link that is no upstream's.
const billOfS3 = "s3"

// carriedFor meters bytes at sockets as those of an upstream's link, whose budget
// they use up too; they are S3's own when link is empty.
func (g *gateway) carriedFor(link string) func(bytes int) {
	meter := g.meter.Carrier(cmp.Or(link, billOfS3))
	return func(bytes int) {
		meter(bytes)
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
