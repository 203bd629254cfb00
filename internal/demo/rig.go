package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/internal/tally"
)

// Setup is what every demo needs.
type Setup struct {
	Executable string                      // of ebbgate: its "run" is the gateway
	Dir        string                      // where the gateway keeps its files; empty: a temporary folder
	NoLimits   bool                        // lift the cloud's 100 publishes a second
	Units      func(*bridge.Message) int64 // how the cloud bills
}

// contender is what stands between devices and cloud.
type contender func(s Setup, endpoint string) (*child, *gateway, error)

func ebbgate(s Setup, endpoint string) (*child, *gateway, error) {
	g, err := newGateway(s.Executable, s.Dir, endpoint, !s.NoLimits)
	if err != nil {
		return nil, nil, err
	}
	return g.child, g, nil
}

func mosquitto(s Setup, endpoint string) (*child, *gateway, error) {
	c, err := newMosquitto(s.Dir, endpoint)
	return c, nil, err
}

// rig is a contender with its cloud and its devices, all running.
type rig struct {
	setup   Setup
	cloud   *sandbox.Cloud
	edge    *child
	gateway *gateway // the edge, when it is Ebbgate
	fleet   *devices.Fleet

	ctx   context.Context // of everything that runs here; only close ends it
	end   context.CancelFunc
	tasks sync.WaitGroup
	mu    sync.Mutex
	errs  []error
}

// openRig starts cloud and contender, and makes the devices as o says;
// o.Address is filled in. ctx bounds the start only: a signal that ends the
// demo still lets the backlog drain, until close.
func openRig(ctx context.Context, s Setup, make contender, o devices.Options) (*rig, error) {
	cloud, err := sandbox.Open(sandbox.Options{NoLimits: s.NoLimits, Identify: devices.Identify, Units: s.Units}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	r := &rig{setup: s, cloud: cloud}
	r.ctx, r.end = context.WithCancel(context.WithoutCancel(ctx))
	r.task(func() error { return cloud.Run(r.ctx) })
	if r.edge, r.gateway, err = make(s, cloud.Addr()); err == nil {
		o.Address = r.edge.listen
		if r.fleet, err = devices.New(o); err == nil {
			_, err = r.edge.start(ctx)
		}
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// connect lets the devices begin.
func (r *rig) connect() { r.task(func() error { return r.fleet.Run(r.ctx) }) }

// task runs fn until close; a panic becomes an error, so that a terminal is
// always given back.
func (r *rig) task(fn func() error) {
	r.tasks.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				r.fail(fmt.Errorf("demo: %v", v))
			}
		}()
		if err := fn(); err != nil {
			r.fail(err)
		}
	})
}

func (r *rig) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

// err is why a part of the rig ended before its time.
func (r *rig) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}

// close ends everything, the contender first: it may still say goodbye.
func (r *rig) close() error {
	if r.edge != nil {
		r.fail(r.edge.close(r.setup.Dir != ""))
	}
	r.end()
	r.tasks.Wait()
	return r.err()
}

// restart kills the contender and starts it again. It returns how long it took
// to be ready.
func (r *rig) restart(ctx context.Context) (time.Duration, error) {
	r.edge.kill()
	return r.edge.start(ctx)
}

// account compares the devices' word with the cloud's.
func (r *rig) account() tally.Difference {
	return tally.Compare(r.fleet.Acked(), r.cloud.Arrivals().Seen())
}
