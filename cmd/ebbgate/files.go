package main

import (
	"context"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// files is file transfer from devices, with the folder that it exports to.
type files struct {
	service *upload.Service
	folder  *upload.Directory
}

// openFiles opens it, nil when it is not enabled. The spool is open, the broker
// not yet made.
func (g *gateway) openFiles() (*files, error) {
	o := g.cfg.FileTransfer
	if !o.Enabled {
		return nil, nil
	}
	folder, err := upload.OpenDirectory(o.Export)
	if err != nil {
		return nil, err
	}
	f := &files{folder: folder}
	f.service, err = upload.Open(o, upload.Deps{
		Shelf: g.spool, Target: folder, Drops: g.drops, Health: g.health, Log: g.log,
		Tell:     func(m *bridge.Message) { g.broker.Tell(m) },
		Messages: g.stats.accepted.Load,
		Wall: func() (time.Time, bool) {
			now := g.clock.Now()
			return now.Wall, now.Synced
		},
	})
	if err != nil {
		_ = folder.Close() // nothing has been written
		return nil, err
	}
	return f, nil
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
	return f.folder.Close()
}
