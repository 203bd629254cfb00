package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/configs"
)

func newRunCommand() *cobra.Command {
	var path string
	var sets []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway",
		Long: `Run the gateway until it gets SIGINT or SIGTERM; then it lets what is in
flight land, for shutdown_timeout at most, and ends. It needs no network to end,
and a second signal ends it at once: what devices were told is on the disk.

SIGHUP reads configuration, policies, things, users and certificates again. A
file that is not valid changes nothing and raises a warning.`,
		Example: `  ebbgate run --config /etc/ebbgate/ebbgate.yaml
  ebbgate run --config ebbgate.yaml --set log.level=debug
  EBBGATE_UPSTREAMS__AWS__ENDPOINT=mqtts://broker:8883 ebbgate run --config ebbgate.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*configs.Config, error) { return configs.Load(path, os.Environ(), sets) }
			cfg, err := load()
			if err != nil {
				return err
			}
			return runGateway(cmd.Context(), cfg, load, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", os.Getenv("EBBGATE_CONFIG"), "configuration file; without one the defaults hold (EBBGATE_CONFIG)")
	cmd.Flags().StringArrayVar(&sets, "set", nil, "override a setting, such as --set spool.durability=os; may be repeated")
	return cmd
}

// ballast is memory that is never touched, so it is not resident. The collector
// counts it as alive: a gateway whose own heap is small then collects after tens
// of megabytes of garbage instead of after four. With a full uplink that is an
// eighth of the processor time; a large heap hardly notices it.
const ballast = 24 << 20

// runGateway opens, runs and closes a gateway.
func runGateway(ctx context.Context, cfg *configs.Config, load func() (*configs.Config, error), stderr io.Writer) error {
	makeRoomForWaiting()
	weight := make([]byte, ballast)
	defer runtime.KeepAlive(weight)
	log := newLogger(cfg.Log, stderr)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // one that comes during a long start waits, and ends nothing
	defer signal.Stop(hup)
	g, err := openGateway(cfg, log)
	if err != nil {
		return err
	}
	return g.run(ctx, hup, load)
}

func newLogger(o configs.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(o.Level)) // validated by configs
	h := &slog.HandlerOptions{Level: level}
	if o.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, h))
	}
	return slog.New(slog.NewTextHandler(w, h))
}
