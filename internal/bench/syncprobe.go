package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// probeMode is the first argument that makes this program a probe of syncs.
const probeMode = "sync-probe"

// runProbe appends 4 KiB to a file below dir and syncs it, samples times, and
// writes to out how long each took, as a JSON array of nanoseconds.
func runProbe(dir, samples string, out io.Writer) (err error) {
	n, err := strconv.Atoi(samples)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4096)
	took := make([]time.Duration, 0, n)
	for range n {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return err
		}
		if err := syncData(f); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	return json.NewEncoder(out).Encode(took)
}

// probeSyncs measures one sync on the file system of dir, each made longer by
// delay. It is a child, so that strace costs it what it costs the gateway.
func (b *bench) probeSyncs(ctx context.Context, dir string, delay time.Duration, samples int) ([]time.Duration, error) {
	argv := append(slowSyncs(delay), b.self, probeMode, dir, strconv.Itoa(samples))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, childAttr()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("probe of syncs: %w", err)
	}
	var took []time.Duration
	if err := json.Unmarshal(out, &took); err != nil {
		return nil, fmt.Errorf("probe of syncs: %w", err)
	}
	return took, nil
}
