package main

import (
	"context"
	"log/slog"

	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/sandbox"
)

// startSandbox runs the stand-in cloud of an upstream of type sandbox inside
// this process. Only a configuration that says so gets one.
func startSandbox(log *slog.Logger) (endpoint string, stop func() error, err error) {
	cloud, err := sandbox.Open(sandbox.Options{Address: "127.0.0.1:0", Identify: devices.Identify, Units: awsUnits}, log)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cloud.Run(ctx) }()
	log.Warn("an upstream is a sandbox: nothing reaches a real cloud", "address", cloud.Addr())
	return "mqtt://" + cloud.Addr(), func() error {
		cancel()
		return <-ended
	}, nil
}
