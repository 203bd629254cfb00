package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the program: a part that it plays as its own child, or the whole.
func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == sinkMode {
		return runSink(ctx, args[1])
	}
	if len(args) == 3 && args[0] == probeMode {
		return runProbe(args[1], args[2], os.Stdout)
	}
	if len(args) == 4 && args[0] == brokerMode {
		return runBroker(ctx, args[1], args[2], args[3] == askPolicy)
	}
	if len(args) == 4 && args[0] == uploadMode {
		return runUpload(ctx, args[1], args[2], args[3])
	}
	if len(args) == 3 && args[0] == floodMode {
		return runFlood(ctx, args[1], args[2])
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	if err := checkPlatform(); err != nil {
		return err
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	b.measure(ctx)
	b.report.print(os.Stdout)
	err = b.close()
	if o.json != "" {
		err = errors.Join(err, b.report.write(o.json))
	}
	if n := len(b.report.Failures); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d measurements failed, see the table", n))
	}
	return err
}
