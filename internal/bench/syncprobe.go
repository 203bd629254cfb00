package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// probeMode is the first argument that makes this program a probe of syncs.
const probeMode = "sync-probe"

// syncSize is what the probe writes before each sync: about a message with its
// record's header, which is what a commit holds at pacedRate.
const syncSize = 384

// runProbe writes and syncs syncSize bytes of a file below dir, samples times,
// and writes to out how long each took, as a JSON array of nanoseconds.
//
// It measures the sync that a commit of the gateway's needs, when the gateway
// needs it. The file's space is reserved, as the log's is: a sync that also has
// to write down that a file grew takes longer. And the syncs begin at fixed
// instants, pacedRate a second, as the messages come: disks have bad moments,
// some 20 to 50 ms in which every sync takes several times as long, and a probe
// that begins a sync when the one before has ended makes the fewest just then.
// A sync that is late begins at once; its time counts from there.
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
	if err := reserve(f, int64(n)*syncSize); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	block := make([]byte, syncSize)
	took := make([]time.Duration, 0, n)
	begin := time.Now()
	for i := range n {
		sleepUntil(begin, time.Duration(i)*time.Second/pacedRate)
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
