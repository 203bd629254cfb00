package spool

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Durability is what an acknowledgement means.
type Durability string

// The levels of durability.
const (
	Disk   Durability = "disk"   // synced: survives a power cut
	OS     Durability = "os"     // handed to the kernel: survives a kill, not a power cut
	Memory Durability = "memory" // accepted: survives neither
)

// Options configure a spool.
type Options struct {
	Dir         string        `koanf:"dir" doc:"Folder of the spool; one gateway at a time may hold it."`
	Durability  Durability    `koanf:"durability" enum:"disk,os,memory" doc:"What a PUBACK to a device means: disk (synced, survives a power cut), os (survives a kill of the gateway only), memory (survives neither)."`
	CommitDelay time.Duration `koanf:"commit_delay" doc:"How long a commit waits for more messages before it is synced, 0s to 10s: latency traded for flash wear."`
	MaxSize     bridge.Size   `koanf:"max_size" doc:"Bound of the spool on disk; 0 means the disk less headroom. When it is reached devices see back-pressure."`
	Headroom    bridge.Size   `koanf:"headroom" doc:"Free space on the disk below which intake stops, at least 32MiB."`
}

// DefaultOptions are the options of a configuration that says nothing.
func DefaultOptions() Options {
	return Options{Dir: "data", Durability: Disk, Headroom: 64 << 20}
}

// Validate lists what is wrong with the options.
func (o Options) Validate() []bridge.Problem {
	var ps []bridge.Problem
	add := func(path, text, remedy string) {
		ps = append(ps, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	if o.Dir == "" {
		add("dir", "is empty", "name a folder for the spool, such as data")
	}
	switch o.Durability {
	case Disk, OS, Memory:
	default:
		add("durability", fmt.Sprintf("is %q", o.Durability), "write disk, os or memory")
	}
	if o.CommitDelay < 0 || o.CommitDelay > 10*time.Second {
		add("commit_delay", fmt.Sprintf("is %v", o.CommitDelay), "write a duration from 0s to 10s")
	}
	if o.MaxSize != 0 && o.MaxSize < minMaxSize {
		add("max_size", fmt.Sprintf("is %v", o.MaxSize), fmt.Sprintf("write 0 or at least %v", bridge.Size(minMaxSize)))
	}
	if o.Headroom < minHeadroom {
		add("headroom", fmt.Sprintf("is %v", o.Headroom), fmt.Sprintf("write at least %v: the spool itself needs it to close and reopen", bridge.Size(minHeadroom)))
	}
	return ps
}

const (
	minMaxSize  = 64 << 20
	minHeadroom = 32 << 20
)

// Deps are what a spool is given by its owner.
type Deps struct {
	Log    *slog.Logger
	Health *bridge.Health

	// Command is the command that opens the spool, such as "ebbgate spool ls", for one
	// operation; empty for a gateway, which waits for it to end. A command gives the
	// ballast away only when opening itself finds no room.
	Command string
}

// sizes of one spool; tests make them small.
type sizes struct {
	generation int64 // bytes of commits after which a new generation begins
	valueLog   int64 // Badger's value log file: small, because large mapped files are written back in large pages
	memtable   int64
	commit     int   // payload bytes after which a commit takes no more records
	ballast    int64 // freed to be able to start on a full disk

	tray     int           // bytes of the shelf in memory after which they are written
	trayAge  time.Duration // or how long they may wait for it
	lockWait time.Duration // how long a gateway waits for a command that holds the folder
}

func defaultSizes() sizes {
	return sizes{
		generation: 64 << 20,
		valueLog:   8 << 20,
		memtable:   2 << 20, // the index of about 30,000 commits
		commit:     1 << 20,
		ballast:    16 << 20,
		tray:       8 << 20,
		trayAge:    30 * time.Second,
		lockWait:   lockWait,
	}
}

// MaxRecord is the largest record that the spool takes, in bytes as encoded.
const MaxRecord = 2 << 20
