package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// memory is the resident set of a process, in bytes.
type memory struct {
	Anon  int64 // RssAnon: what the process itself holds
	Total int64 // VmRSS: mapped files too, which the kernel takes back as it likes
}

// readMemory reads /proc/PID/status.
func readMemory(pid int) (m memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // other lines are no numbers
		switch key {
		case "RssAnon":
			m.Anon = kilobytes << 10
		case "VmRSS":
			m.Total = kilobytes << 10
		}
	}
	if m.Anon == 0 || m.Total == 0 {
		return m, fmt.Errorf("/proc/%d/status tells no RssAnon or VmRSS", pid)
	}
	return m, nil
}

// watchMemory samples a process until stop is called, which returns the most
// that was seen.
func watchMemory(ctx context.Context, pid int) (stop func() (memory, error)) {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		peak memory
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		for {
			m, err := readMemory(pid)
			if err != nil {
				r.err = err
				break
			}
			r.peak = memory{max(r.peak.Anon, m.Anon), max(r.peak.Total, m.Total)}
			if pause(ctx, 20*time.Millisecond) != nil {
				break
			}
		}
		done <- r
	}()
	return func() (memory, error) {
		cancel()
		r := <-done
		return r.peak, r.err
	}
}

// readWriteBytes reads from /proc/PID/io what a process has caused to be
// written, in bytes, by the kernel's account of dirtied pages.
func readWriteBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/io tells no write_bytes", pid)
}

// cpuTick is the unit of /proc/PID/stat (USER_HZ, 100 on every Linux).
const cpuTick = 10 * time.Millisecond

// readCPU reads the time that a process has spent on processors.
func readCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses that may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	var ticks int64
	for _, f := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * cpuTick, nil
}

// processor names the machine's processor.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the name is empty
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverage is that of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
