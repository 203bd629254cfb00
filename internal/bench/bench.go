package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// bench is one run of the program.
type bench struct {
	options
	self     string // this program, to be its own child
	ebbgate  string // the program under measurement
	work     string // folder on the disk, removed at the end
	progress io.Writer
	report   *report
}

// newBench prepares the folder and the gateway's program.
func newBench(ctx context.Context, o *options) (_ *bench, err error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	disk, err := diskName(o.dir)
	if err != nil {
		return nil, err
	}
	b := &bench{options: *o, progress: os.Stderr}
	load := loadAverage()
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.work, err = os.MkdirTemp(o.dir, "bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.work, err = filepath.Abs(b.work); err != nil {
		return nil, err
	}
	if b.ebbgate, err = b.program(ctx); err != nil {
		return nil, err
	}
	version, err := exec.CommandContext(ctx, b.ebbgate, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", b.ebbgate, err)
	}
	b.report = &report{
		Started: time.Now().UTC().Format(time.RFC3339),
		Machine: fmt.Sprintf("%s, %d processors, %s/%s; load average %s before the first run", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, load),
		Disk:    disk + " at " + o.dir,
		Gateway: strings.TrimSpace(string(version)) + ", synced (durability: disk); limits off, in_flight 100",
		Peer:    mosquittoVersion(ctx) + "; it keeps everything in memory and syncs nothing",
		Config:  map[string]string{"all": fmt.Sprintf(mosquittoCommon, inFlight), "bridge": fmt.Sprintf(mosquittoBridge, "CLOUD")},
		Scale:   o.scale,
	}
	return b, nil
}

// program is the ebbgate to measure: the one given, or one built as it is
// released.
func (b *bench) program(ctx context.Context) (string, error) {
	if b.binary != "" {
		return filepath.Abs(b.binary)
	}
	b.say("building ebbgate")
	out := filepath.Join(b.work, "ebbgate")
	version, _ := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output() // an export has none
	stamp := "-s -w -X main.version=" + cmp.Or(strings.TrimSpace(string(version)), "devel")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", stamp, "-o", out, "github.com/ebbgate/ebbgate/cmd/ebbgate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	return out, nil
}

// close removes the folder.
func (b *bench) close() error { return os.RemoveAll(b.work) }

// measure measures what is wanted. A part that fails is told in the report, and
// the others are measured all the same.
func (b *bench) measure(ctx context.Context) {
	for _, p := range []struct {
		names   []string
		measure func(context.Context) error
	}{
		{[]string{partRate}, b.measureIntake},
		{[]string{partLatency}, b.measureLatency},
		{[]string{partForward}, b.measureForward},
		{[]string{partReplay, partReplayWide, partReplayFour, partReplayThreads, partReplayFourThreads, partReplayTLS, partReplayFourTLS}, b.measureReplay},
		{[]string{partMemory, partStart, partFill, partSpace}, b.measureBacklog},
		{[]string{partDay}, b.measureDay},
		{[]string{partPolicy}, b.measureDecisions},
		{[]string{partPolicyBroker}, b.measurePolicyBroker},
		{[]string{partCrowd}, b.measureCrowd},
		{[]string{partSteps}, b.measureSteps},
		{[]string{partLink}, b.measureLink},
		{[]string{partFile}, b.measureFile},
		{[]string{partFiles}, b.measureFiles},
		{[]string{partShuffled}, b.measureShuffled},
		{[]string{partFlood}, b.measureFlood},
	} {
		if !b.wants(p.names...) || ctx.Err() != nil {
			continue
		}
		if err := p.measure(ctx); err != nil {
			b.say("%s: %v", p.names[0], err)
			b.report.Failures = append(b.report.Failures, fmt.Sprintf("%s: %v", strings.Join(p.names, ", "), err))
		}
	}
	if ctx.Err() != nil {
		b.report.Failures = append(b.report.Failures, "interrupted: what is missing was not measured")
	}
}

// eachRun calls fn for each run, with the sync of the disk measured before it.
func (b *bench) eachRun(ctx context.Context, part string, fn func(run string) error) error {
	for i := range b.Runs {
		took, err := b.probeSyncs(ctx, b.work, 0, b.Samples)
		if err != nil {
			return err
		}
		b.report.Syncs = append(b.report.Syncs, milliseconds(took)...)
		if err := fn(fmt.Sprintf("%s, run %d of %d", part, i+1, b.Runs)); err != nil {
			return err
		}
	}
	return nil
}

// note adds to what is printed below the table.
func (b *bench) note(format string, args ...any) {
	b.report.Notes = append(b.report.Notes, fmt.Sprintf(format, args...))
}

// say tells a person who waits how far it is.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
