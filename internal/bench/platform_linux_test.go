package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestReadsOfThisProcess(t *testing.T) {
	pid := os.Getpid()
	if m, err := readMemory(pid); err != nil || m.Anon <= 0 || m.Total < m.Anon {
		t.Errorf("memory %+v, %v", m, err)
	}
	if _, err := readWriteBytes(pid); err != nil {
		t.Error(err)
	}
	for start := time.Now(); time.Since(start) < 30*time.Millisecond; { // be seen on a processor
	}
	if cpu, err := readCPU(pid); err != nil || cpu <= 0 || cpu > time.Hour {
		t.Errorf("processor time %v, %v", cpu, err)
	}
	stop := watchMemory(t.Context(), pid)
	if peak, err := stop(); err != nil || peak.Anon <= 0 {
		t.Errorf("peak %+v, %v", peak, err)
	}
	if _, err := readMemory(1 << 30); err == nil {
		t.Error("the memory of a process that is not there")
	}
}

func TestDiskUsageCountsBlocks(t *testing.T) {
	dir := t.TempDir()
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sparse.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	if err := sparse.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syncFileSystem(dir); err != nil { // blocks are given when written
		t.Fatal(err)
	}
	if used, err := diskUsage(dir); err != nil || used < 1<<20 || used > 2<<20 {
		t.Errorf("%d bytes, %v; want about 1 MiB", used, err)
	}
}

func TestRefusesMemory(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err != nil {
		peers.Missing(t, "/dev/shm")
	}
	if _, err := diskName("/dev/shm"); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("error %v, want one with a remedy", err)
	}
}

func TestProbeTellsEverySample(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	start := time.Now()
	if err := runProbe(dir, "5", &out); err != nil {
		t.Fatal(err)
	}
	if ran := time.Since(start); ran < 4*time.Second/pacedRate { // the fifth begins no sooner
		t.Errorf("5 samples in %v: they are taken as messages come, %d a second", ran, pacedRate)
	}
	var took []time.Duration
	if err := json.Unmarshal(out.Bytes(), &took); err != nil || len(took) != 5 || took[0] <= 0 {
		t.Errorf("%s: %v", out.Bytes(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

func TestVolumeCountsWhatIsWritten(t *testing.T) {
	const size = 8 << 20
	peers.NeedRoot(t)
	peers.Need(t, "mkfs.ext4")
	v, err := newVolume(t.Context(), t.TempDir(), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := v.close(); err != nil {
			t.Error(err)
		}
	}()
	if !v.counted() {
		peers.Missing(t, "loop devices: "+v.why)
	}
	from, err := v.written()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(v.dir, "file"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	to, err := v.written()
	if err != nil {
		t.Fatal(err)
	}
	if to-from < size || to-from > size+1<<20 {
		t.Errorf("%d bytes counted for %d written", to-from, size)
	}
}

func TestSleepUntil(t *testing.T) {
	start := time.Now()
	sleepUntil(start, 3*time.Millisecond)
	if slept := time.Since(start); slept < 3*time.Millisecond {
		t.Errorf("slept %v of 3 ms", slept)
	}
}
