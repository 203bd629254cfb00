package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	scale
	only   []string
	dir    string
	binary string
	json   string
}

// scale is how much is measured.
type scale struct {
	Runs        int           `json:"runs"`
	Intake      time.Duration `json:"intake_ns"`    // of one measurement at full speed
	Paced       time.Duration `json:"paced_ns"`     // of one measurement at 1,000 messages a second
	Samples     int           `json:"samples"`      // of one sync, a run
	SlowSamples int           `json:"slow_samples"` // of one slowed sync, a run
	Forwarded   int           `json:"forwarded"`    // messages, as all the following
	Replayed    int           `json:"replayed"`
	Spooled     int           `json:"spooled"`
	Read        int           `json:"read"`   // readings of U5
	Steps       int           `json:"steps"`  // messages through each step of a route
	Day         time.Duration `json:"day_ns"` // of which a day's bytes are extrapolated
	File        int64         `json:"file"`   // bytes of the file of one device
	FileOfFour  int64         `json:"file_of_four"`
}

// The scales of a whole and of a quick run. 200,000 and 1,000,000 messages are
// the issue's; three seconds at full speed are a few hundred thousand.
var (
	whole = scale{
		Runs: 7, Intake: 3 * time.Second, Paced: 6 * time.Second, Samples: 1000, SlowSamples: 200,
		Forwarded: 200_000, Replayed: 200_000, Spooled: 1_000_000, Day: 20 * time.Second, Read: 40_000, Steps: 40_000,
		File: 200e6, FileOfFour: 1e9,
	}
	quick = scale{
		Runs: 3, Intake: 1500 * time.Millisecond, Paced: 4 * time.Second, Samples: 300, SlowSamples: 100,
		Forwarded: 50_000, Replayed: 50_000, Spooled: 100_000, Day: 15 * time.Second, Read: 10_000, Steps: 8_000,
		File: 50e6, FileOfFour: 100e6,
	}
)

// The parts that can be measured, in the order in which they are.
const (
	partRate       = "a-rate"
	partLatency    = "a-latency"
	partForward    = "b"
	partReplay     = "c"
	partReplayWide = "c-wide"
	partReplayFour = "c-4"

	partReplayThreads     = "c-threads"
	partReplayFourThreads = "c-threads-4"
	partReplayTLS         = "c-tls"
	partReplayFourTLS     = "c-tls-4"
	partMemory            = "d"
	partStart             = "e"
	partFill              = "f-fill"
	partDay               = "f-day"
	partSpace             = "g"

	partPolicy       = "policy"
	partPolicyBroker = "policy-broker"

	partCrowd = "crowd"

	partSteps = "u5-steps"
	partLink  = "u5-link"

	partsOfFiles = "file" // of which each writes tens of gigabytes, and is asked for

	partFile  = "file-one"
	partFiles = "file-four"

	partShuffled = "file-shuffled"
	partFlood    = "file-flood"
)

func parts() []string {
	return []string{partRate, partLatency, partForward, partReplay, partReplayWide, partReplayFour, partReplayThreads, partReplayFourThreads, partReplayTLS, partReplayFourTLS, partMemory, partStart, partFill, partDay, partSpace, partPolicy, partPolicyBroker, partCrowd, partSteps, partLink, partFile, partFiles, partShuffled, partFlood}
}

func parseOptions(args []string) (*options, error) {
	o := &options{scale: whole}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	isQuick := flags.Bool("quick", false, "three runs and smaller counts: to see that it works, not what it measures")
	runs := flags.Int("runs", 0, "runs of each measurement (7, with --quick 3)")
	messages := flags.Int("messages", 0, "messages of the backlog of c-threads, c-tls, d, e, f and g (1000000, with --quick 100000)")
	fileSize := flags.Int64("file-size", 0, "megabytes of each file of file-one and file-four (200 and 1000, with --quick 50 and 100)")
	only := flags.String("only", "", "measure these parts only, comma-separated: a to g, policy, crowd, u5, file, or of "+strings.Join(parts(), ", ")+" (default all but file: it writes 200 GB)")
	flags.StringVar(&o.dir, "dir", "bin", "folder on the disk to measure on; a folder of its own is made there and removed")
	flags.StringVar(&o.binary, "binary", "", "measure this ebbgate instead of building one")
	flags.StringVar(&o.json, "json", "", "write every run's values to this file")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag; see --help", flags.Arg(0))
	}
	if *isQuick {
		o.scale = quick
	}
	if *runs < 0 || *messages < 0 || *fileSize < 0 {
		return nil, fmt.Errorf("--runs, --messages and --file-size are at least 1")
	}
	if *runs > 0 {
		o.Runs = *runs
	}
	if *messages > 0 {
		o.Spooled = *messages
	}
	if *fileSize > 0 {
		o.File, o.FileOfFour = *fileSize*megabyte, *fileSize*megabyte
	}
	if *only != "" {
		for name := range strings.SplitSeq(*only, ",") {
			if !slices.ContainsFunc(parts(), func(part string) bool { return names(name, part) }) {
				return nil, fmt.Errorf("--only %s: the parts are %s", name, strings.Join(parts(), ", "))
			}
			o.only = append(o.only, name)
		}
	}
	return o, nil
}

// names reports whether a name of the command line means a part: its own name,
// or its letter.
func names(name, part string) bool {
	letter, _, _ := strings.Cut(part, "-")
	return name == part || name == letter
}

// wants reports whether any of the parts is to be measured.
func (o *options) wants(parts ...string) bool {
	if len(o.only) == 0 {
		return !slices.ContainsFunc(parts, func(part string) bool { return names(partsOfFiles, part) })
	}
	return slices.ContainsFunc(parts, func(part string) bool {
		return slices.ContainsFunc(o.only, func(name string) bool { return names(name, part) })
	})
}
