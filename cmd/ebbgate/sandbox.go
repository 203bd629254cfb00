package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

func newSandboxCommand() *cobra.Command {
	var o struct {
		listen, control string
		noLimits        bool
	}
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Run a cloud to try things on: AWS IoT Core's limits, on this machine",
		Long: `Run a broker with the behaviour and limits of AWS IoT Core, behind a link that
can be broken. It keeps nothing of a message but that it came. Anybody may
connect: it listens on loopback only.

Control it over HTTP: GET /report and /latest; POST /cut, /blackhole, /refuse,
/slow?latency=300ms&rate=20000 and /restore.`,
		Example: `  ebbgate sandbox --listen 127.0.0.1:18830 --control 127.0.0.1:18831
  curl -X POST http://127.0.0.1:18831/blackhole
  curl http://127.0.0.1:18831/report`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for flag, addr := range map[string]string{"--listen": o.listen, "--control": o.control} {
				if err := loopback(addr); err != nil {
					return &exitError{exitInvalid, fmt.Errorf("%s %s: %w", flag, addr, err)}
				}
			}
			log := newLogger(configs.Log{Format: "text", Level: "info"}, cmd.ErrOrStderr())
			cloud, err := sandbox.Open(sandbox.Options{Address: o.listen, NoLimits: o.noLimits, Identify: devices.Identify, Units: awsUnits}, log)
			if err != nil {
				return err
			}
			control, err := net.Listen("tcp", o.control)
			if err != nil {
				return fmt.Errorf("sandbox: %w", err)
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "mqtt://%s\nhttp://%s\n", cloud.Addr(), control.Addr())
			g, ctx := errgroup.WithContext(cmd.Context())
			g.Go(func() error { return cloud.Run(ctx) })
			g.Go(func() error { return serveHTTP(ctx, control, sandbox.NewControl(cloud.Gate(), cloud.Arrivals())) })
			return g.Wait()
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "loopback address of the MQTT endpoint; port 0 takes a free one")
	f.StringVar(&o.control, "control", "127.0.0.1:0", "loopback address of the control API")
	f.BoolVar(&o.noLimits, "no-limits", false, "lift the limit of 100 publishes a second")
	return cmd
}

// awsUnits is how many messages AWS bills for a publish.
func awsUnits(m *bridge.Message) int64 { return billing.Publish(m, billing.DefaultUnit) }

// loopback refuses an address that others can reach.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("others can reach it: use 127.0.0.1")
	}
	return nil
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	}
	return nil
}
