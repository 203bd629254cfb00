package upload

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Options configure file transfer.
type Options struct {
	Enabled         bool          `koanf:"enabled" doc:"Whether devices may send files: $file/…, $file-async/… and $file-response/… on all listeners but those of profile aws."`
	Dir             string        `koanf:"dir" doc:"Folder of what has been sent of files that are not finished; empty: files in spool.dir. On the file system of export.dir a file that came in order is not copied."`
	Export          ExportOptions // in a file it stands beside the options of the target
	MaxSegment      bridge.Size   `koanf:"max_segment" doc:"Largest payload of one segment, 1KiB to 1MiB; MQTT 5 devices are told in CONNACK."`
	MaxFile         bridge.Size   `koanf:"max_file" doc:"Largest file; more is refused with 0x83, efbig."`
	MaxSize         bridge.Size   `koanf:"max_size" doc:"Most bytes of all unfinished and not yet exported files together; 0 means the disk less headroom. Above it segments are refused with 0x97, enospc."`
	MaxClientSize   bridge.Size   `koanf:"max_client_size" doc:"Most bytes of those of one client; above it segments are refused with 0x97, edquot."`
	Headroom        bridge.Size   `koanf:"headroom" doc:"Free space on the disk below which segments are refused with 0x97, enospc; more than spool.headroom, so that messages still find room. Copies into export.dir, of files that cannot be renamed, leave it free as well, and wait until they can; on a disk that is not spool.dir's no more than a tenth of it."`
	Transfers       int           `koanf:"transfers" doc:"Most unfinished files, 1 to 10000; above it init and segments of others are refused with 0x97, enospc."`
	ClientTransfers int           `koanf:"client_transfers" doc:"Most of them of one client, 1 to 10000; above it, edquot."`
	Waiting         int           `koanf:"waiting" doc:"Most finished files that wait for their export, 1 to 1000000; each costs 2 kB of memory, and one with much user_data counts once more for each KiB of it. Above it no more files are begun (0x97, enospc); one client has at most half (edquot)."`
	Segments        int           `koanf:"segments" doc:"Most segments of one file, 1 to 1000000."`
	AllSegments     int           `koanf:"all_segments" doc:"Most segments of all unfinished files together, 1 to 10000000; each costs 100 bytes of memory."`
	MinTTL          time.Duration `koanf:"min_segments_ttl" doc:"Least time that a segment is kept, whatever init asks for."`
	MaxTTL          time.Duration `koanf:"max_segments_ttl" doc:"Longest time that a segment is kept, and the time of a file whose init asks for none."`
	Lifetime        time.Duration `koanf:"lifetime" doc:"Longest time from the first command about a file to its fin; then it is given up, however busy it is."`
	AssembleTimeout time.Duration `koanf:"assemble_timeout" doc:"How long a fin waits for its answer; then it is 0x80, timeout, the work goes on, and the next fin has its result."`
	Checksum        string        `koanf:"checksum" enum:"optional,required" doc:"Whether a file needs a SHA-256, in init or fin."`
	StrictCodes     bool          `koanf:"strict_emqx_codes" doc:"Whether every refusal is 0x80, as EMQX does it; otherwise 0x83 says that sending again is pointless, and 0x97 that it has to wait."`
}

// ExportOptions say how finished files go to their target.
type ExportOptions struct {
	Mode     string `koanf:"mode" enum:"spooled,direct" doc:"What success of fin means: spooled (the file is whole, its checksum right, and it is durably queued for export, which is tried until it succeeds) or direct (it has been exported)."`
	ExpireAt string `koanf:"expire_at" enum:"keep,remove" doc:"What becomes of an exported file when the expire_at of its init has passed: keep leaves it, as EMQX does, remove deletes it and its manifest."`

	KeepFor time.Duration `koanf:"keep_for" doc:"With to: folder, how long an exported file stays there before it and its manifest are deleted, from 1h; 0s is for ever. It counts while the gateway runs. With expire_at: remove a file that has an expire_at goes by that alone."`
}

// The values of the options.
const (
	modeSpooled      = "spooled"
	modeDirect       = "direct"
	checksumOptional = "optional"
	checksumRequired = "required"
	expireKeep       = "keep"
	expireRemove     = "remove"
)

// DefaultOptions are those of a configuration that says nothing: EMQX's times,
// room for a thousand transfers, and for the logs that fifty devices send every hour of
// an outage of two weeks.
func DefaultOptions() Options {
	return Options{
		Export:     ExportOptions{Mode: modeSpooled, ExpireAt: expireKeep},
		MaxSegment: 1 << 20, MaxFile: 16 << 30, MaxClientSize: 32 << 30, Headroom: 256 << 20,
		Transfers: 1000, ClientTransfers: 32, Waiting: 20_000, Segments: 100_000, AllSegments: 400_000,
		MinTTL: 5 * time.Minute, MaxTTL: 24 * time.Hour, Lifetime: 7 * 24 * time.Hour, AssembleTimeout: 5 * time.Minute,
		Checksum: checksumOptional,
	}
}

// Descriptors is how many files and connections of the process transfers may need at a
// time: each two for its file, when all wait to be read for their checksums, and the
// exports a few for what they read and write.
func (o Options) Descriptors() int {
	if !o.Enabled {
		return 0
	}
	const ofExport = 4
	return 2*o.Transfers + ofExport*exportsAtOnce
}

// Validate lists what is wrong with the options.
func (o Options) Validate() []bridge.Problem {
	var ps []bridge.Problem
	add := func(path, text, remedy string) {
		ps = append(ps, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	between := func(path string, v, low, high int) {
		if v < low || v > high {
			add(path, fmt.Sprintf("%d is out of range", v), fmt.Sprintf("write a number from %d to %d", low, high))
		}
	}
	size := func(path string, v, low, high bridge.Size) {
		if v < low || v > high {
			add(path, fmt.Sprintf("%v is out of range", v), fmt.Sprintf("write a size from %v to %v", low, high))
		}
	}
	last := func(path string, v, low, high time.Duration) {
		if v < low || v > high {
			add(path, fmt.Sprintf("%v is out of range", v), fmt.Sprintf("write a duration from %v to %v", low, high))
		}
	}
	one := func(path, v, a, b string) {
		if v != a && v != b {
			add(path, fmt.Sprintf("%q is unknown", v), "write "+a+" or "+b)
		}
	}
	size("max_segment", o.MaxSegment, 1<<10, 1<<20)
	size("max_file", o.MaxFile, 1<<10, 1<<44)
	if o.MaxSize != 0 {
		size("max_size", o.MaxSize, 1<<20, 1<<50)
	}
	size("max_client_size", o.MaxClientSize, 1<<20, 1<<50)
	size("headroom", o.Headroom, 32<<20, 1<<44)
	between("transfers", o.Transfers, 1, 10_000)
	between("client_transfers", o.ClientTransfers, 1, 10_000)
	between("waiting", o.Waiting, 1, 1_000_000)
	between("segments", o.Segments, 1, 1_000_000)
	between("all_segments", o.AllSegments, 1, 10_000_000)
	last("min_segments_ttl", o.MinTTL, time.Second, 30*24*time.Hour)
	last("max_segments_ttl", o.MaxTTL, time.Second, 30*24*time.Hour)
	if o.MinTTL > o.MaxTTL {
		add("min_segments_ttl", fmt.Sprintf("%v is more than max_segments_ttl (%v)", o.MinTTL, o.MaxTTL), "write a shorter time, or a longer max_segments_ttl")
	}
	last("lifetime", o.Lifetime, time.Minute, 365*24*time.Hour)
	last("assemble_timeout", o.AssembleTimeout, time.Second, 24*time.Hour)
	one("checksum", o.Checksum, checksumOptional, checksumRequired)
	one("export.mode", o.Export.Mode, modeSpooled, modeDirect)
	if k := o.Export.KeepFor; k != 0 {
		last("export.keep_for", k, time.Hour, 100*365*24*time.Hour)
	}
	one("export.expire_at", o.Export.ExpireAt, expireKeep, expireRemove)
	return ps
}
