package conformance

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/localbroker/upload"
	"github.com/ebbgate/ebbgate/upstream/folder"
)

// depot is a gate that takes files, to a folder.
type depot struct {
	*gate
	service *upload.Service
	exports string
	health  *bridge.Health
	dir     string // of the spool
	changes []func(*depotSetup)
	end     func()
}

// depotSetup is what a test may change of a depot before it opens.
type depotSetup struct {
	upload.Options
	folder  folder.Options
	profile string
	target  func(bridge.FileTarget) bridge.FileTarget // put before the folder; nil: nothing
	gate    []func(*setup)
}

// openDepot starts one in profile aws-edge; the test's end stops it.
func openDepot(tb testing.TB, changes ...func(*depotSetup)) *depot {
	tb.Helper()
	return startDepot(tb, &depot{dir: tb.TempDir(), changes: changes}, nil)
}

// startDepot opens a depot on its folder.
func startDepot(tb testing.TB, d *depot, at *clock) *depot {
	tb.Helper()
	s := &depotSetup{Options: upload.DefaultOptions(), folder: folder.DefaultOptions(), profile: "aws-edge"}
	s.Enabled, s.Dir, s.folder.Dir = true, filepath.Join(d.dir, "files"), filepath.Join(d.dir, "exports")
	s.Headroom = 1 << 20
	for _, change := range d.changes {
		change(s)
	}
	d.exports, d.health = s.folder.Dir, &bridge.Health{}
	exports, err := folder.Open(s.folder, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	var target bridge.FileTarget = exports
	if s.target != nil {
		target = s.target(exports)
	}
	d.gate = open(tb, append([]func(*setup){func(o *setup) {
		o.spool.Dir, o.clock = filepath.Join(d.dir, "spool"), at
		lan := localbroker.DefaultListenerOf(s.profile)
		lan.Address, lan.Policies = "127.0.0.1:0", []string{"device"}
		o.broker.Listeners[0] = lan
		o.families = func(g *gate, shelf localbroker.Shelf) []localbroker.Family {
			d.service, err = upload.Open(s.Options, upload.Deps{
				Shelf: shelf, Target: target, Tell: func(m *bridge.Message) { g.Tell(m) }, Drops: g.drops, Health: d.health, Log: slog.New(slog.DiscardHandler),
				Wall:     func() (time.Time, bool) { return g.clock.now(), true },
				Messages: func() int64 { return 0 },
			})
			if err != nil {
				tb.Fatal(err)
			}
			return []localbroker.Family{localbroker.Uploads(d.service)}
		}
	}}, s.gate...)...)
	stop := peers.Run(tb, d.service.Run)
	d.end = sync.OnceFunc(func() {
		d.stop()
		stop()
		closes(tb, d.store)
		closes(tb, exports)
	})
	tb.Cleanup(d.end)
	return d
}

// restart stops the depot and starts it again on the same folder.
func (d *depot) restart() {
	d.tb.Helper()
	tb, at := d.tb, d.clock
	d.end()
	startDepot(tb, d, at)
}

// exported lists the files below the folder of exports, manifests aside.
func (d *depot) exported() (files []string) {
	d.tb.Helper()
	err := filepath.WalkDir(d.exports, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Name() == "%partial" {
			return filepath.SkipDir
		}
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".MANIFEST.json") {
			return err
		}
		rel, err := filepath.Rel(d.exports, path)
		files = append(files, filepath.ToSlash(rel))
		return err
	})
	if err != nil && !os.IsNotExist(err) { // a file may be renamed meanwhile
		d.tb.Fatal(err)
	}
	return files
}
