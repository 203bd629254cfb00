package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/spool"
)

// dropsLine is how many messages of a queue were given up for a reason in an hour.
type dropsLine struct {
	Hour   time.Time `json:"hour"`
	Clock  string    `json:"clock"`
	Reason string    `json:"reason"`
	Queue  string    `json:"queue"`
	Count  int64     `json:"count"`
}

// dropLine is one message that was given up.
type dropLine struct {
	ID       string    `json:"id,omitempty"` // none of what no queue was to have
	Reason   string    `json:"reason"`
	Queue    string    `json:"queue"`
	Device   string    `json:"device,omitempty"`
	Topic    string    `json:"topic,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Size     int       `json:"size"`
	Accepted time.Time `json:"accepted"`
	Dropped  time.Time `json:"dropped"`
	Clock    string    `json:"clock"`
}

// refusedLine is what never was accepted, or was dropped for a device on the site.
type refusedLine struct {
	Reason string    `json:"reason"`
	Count  int64     `json:"count"`
	Last   time.Time `json:"last"`
	Device string    `json:"device,omitempty"`
	Topic  string    `json:"topic,omitempty"`
}

func describeDrop(e *bridge.DropEntry) *dropLine {
	id := ""
	if e.ID != (bridge.MessageID{}) {
		id = e.ID.String()
	}
	return &dropLine{id, e.Reason, e.Queue, e.Device, e.Topic, e.Detail, e.Size, e.Accepted, e.Dropped, bridge.Instant{Synced: e.Synced}.Quality()}
}

// when is the time of the drop, marked when the clock was not synchronised.
func (l *dropLine) when() string { return clocked(l.Dropped.UTC().Format(time.RFC3339), l.Clock) }

func clocked(text, clock string) string {
	if clock == (bridge.Instant{Synced: true}).Quality() {
		return text
	}
	return text + "?"
}

func newDropsCommand() *cobra.Command {
	f := new(spoolFlags)
	cmd := &cobra.Command{
		Use:   "drops",
		Short: "Show what was accepted and given up, and why",
		Long: `Show what was accepted for an upstream and given up: expired, a dead letter,
dropped by an operator. It is written with the release of each message, so it
outlives kills and power cuts. A running gateway is asked on its admin port;
without one the spool is opened directly.

A time with ? was told by a clock that was not synchronised.`,
		Example: "  ebbgate drops stat --since 24h\n  ebbgate drops ls --reason expired --device pump-7",
	}
	f.common(cmd)
	cmd.AddCommand(f.dropsStat(), f.dropsLs())
	return cmd
}

func (f *spoolFlags) dropsStat() *cobra.Command {
	req := spoolRequest{Op: "drops"}
	cmd := &cobra.Command{
		Use: "stat", Short: "How many, by hour, reason and queue, of 90 days", Args: noArguments,
		Long: `How many messages were accepted and given up, by hour, reason and queue. The sums
go back 90 days.

What a running gateway refused, and so never accepted, and what it dropped for
devices on the site, is shown below: it is counted since the start only.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.json {
				return f.encode(cmd, req)
			}
			return f.printDrops(cmd, req)
		},
	}
	dropFilters(cmd, &req)
	return cmd
}

func (f *spoolFlags) dropsLs() *cobra.Command {
	req := spoolRequest{Op: "dropped"}
	cmd := &cobra.Command{
		Use: "ls", Short: "List them one by one: the last million, or seven days", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.table(cmd, req, "DROPPED\tREASON\tQUEUE\tDEVICE\tTOPIC\tSIZE\tID\tDETAIL", func(l spoolLine) string {
				d := l.Dropped
				if d == nil {
					return ""
				}
				return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s", d.when(), d.Reason, printable(d.Queue),
					cut(d.Device, deviceColumn), cut(d.Topic, topicColumn), d.Size, d.ID, printable(d.Detail))
			})
		},
	}
	dropFilters(cmd, &req)
	cmd.Flags().StringVar(&req.Device, "device", "", "only of this device")
	cmd.Flags().StringVar(&req.Topic, "topic", "", "only of topics that begin so")
	cmd.Flags().IntVar(&req.Limit, "limit", 100, "how many of the latest to list; 0 lists all")
	return cmd
}

func dropFilters(cmd *cobra.Command, req *spoolRequest) {
	cmd.Flags().DurationVar(&req.Since, "since", 0, "only what is not older than this, such as 24h")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "only for this reason")
	cmd.Flags().StringVar(&req.Queue, "queue", "", "only of this queue")
}

// common adds the flags of all commands that look into the spool.
func (f *spoolFlags) common(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", os.Getenv("EBBGATE_CONFIG"), "configuration file (EBBGATE_CONFIG)")
	cmd.PersistentFlags().StringArrayVar(&f.sets, "set", nil, "override a setting, such as --set spool.dir=/var/lib/ebbgate")
	cmd.PersistentFlags().BoolVar(&f.json, "json", false, "print one JSON object a line")
}

func (f *spoolFlags) printDrops(cmd *cobra.Command, req spoolRequest) error {
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(out, "HOUR (UTC)\tREASON\tQUEUE\tMESSAGES")
	refused := false
	err := f.do(cmd, req, func(l spoolLine) error {
		var err error
		switch {
		case l.Drops != nil:
			d := l.Drops
			_, err = fmt.Fprintf(out, "%s\t%s\t%s\t%d\n", clocked(d.Hour.Format("2006-01-02 15:04"), d.Clock), d.Reason, printable(d.Queue), d.Count)
		case l.Refused != nil:
			if !refused {
				refused = true
				_, _ = fmt.Fprintln(out, "\nNOT ACCEPTED\tSINCE THE START\tLATEST\tOF")
			}
			r := l.Refused
			_, err = fmt.Fprintf(out, "%s\t%d\t%s\t%s\n", r.Reason, r.Count, r.Last.UTC().Format(time.RFC3339), printable(strings.TrimSpace(r.Device+" "+r.Topic)))
		}
		return err
	})
	if err != nil && !errors.Is(err, errFound) {
		return err
	}
	return errors.Join(err, out.Flush())
}

// openDrops opens the drop log of a spool that no gateway has open.
func openDrops(s *spool.Spool) (*bridge.DropLog, error) {
	clock := bridge.NewClock(s.Age, newKernelClock().synchronised)
	return bridge.OpenDropLog(s, clock.Now, bridge.DefaultDropLimits())
}

// dropHours tells the sums that a request means, and what was refused.
func (s *desk) dropHours(r spoolRequest, emit func(spoolLine) error) error {
	var gone error
	err := s.drops.Hours(func(h bridge.DropHour) bool {
		if r.Reason != "" && r.Reason != h.Reason || r.Queue != "" && r.Queue != h.Queue || r.Since > 0 && time.Since(h.Hour) > r.Since+time.Hour {
			return true
		}
		gone = emit(spoolLine{Drops: &dropsLine{h.Hour, bridge.Instant{Synced: h.Synced}.Quality(), h.Reason, h.Queue, h.Count}})
		return gone == nil
	})
	if err = firstOf(err, gone); err != nil {
		return err
	}
	for _, d := range s.drops.All() {
		if d.Logged || r.Queue != "" || r.Reason != "" && r.Reason != d.Reason || r.Since > 0 && time.Since(d.Last) > r.Since {
			continue
		}
		if err := emit(spoolLine{Refused: &refusedLine{d.Reason, d.Count, d.Last, d.Device, d.Topic}}); err != nil {
			return err
		}
	}
	return nil
}

// dropReasons are those of what was accepted and given up, as docs/operations.md has
// them.
var dropReasons = []string{
	bridge.Expired.String(), bridge.DeadLetter, bridge.RequestDenied, bridge.Conflated, overBudget, "undecided", "unreadable",
	localbroker.WarningNoRuleRoute, bridge.Unrouted, bridge.TopicInvalid.String(), bridge.ByOperator,
	"session-queue-full", "session-ended", "receive-denied", "client-packet-size", "retry-window", "group-queue-full",
	"share-group-absent", "share-group-ended", "delivery-rate", "queued-rate", "shelf-failed",
}

// knownReason refuses a reason that there is not: an empty list would read as if
// nothing had been given up for it.
func (s *desk) knownReason(reason string) error {
	if reason == "" {
		return nil
	}
	known := slices.Clone(dropReasons)
	for k := bridge.Internal; k <= bridge.Expired; k++ { // of what was refused
		known = append(known, k.String())
	}
	for _, d := range s.drops.All() {
		known = append(known, d.Reason)
	}
	if err := s.drops.Hours(func(h bridge.DropHour) bool {
		known = append(known, h.Reason)
		return true
	}); err != nil || slices.Contains(known, reason) {
		return err
	}
	slices.Sort(known)
	return fmt.Errorf("there is no reason %q; there are %s", reason, strings.Join(slices.Compact(known), ", "))
}

// dropped tells the latest messages that a request means, in the order of the
// log.
func (s *desk) dropped(r spoolRequest, emit func(spoolLine) error) error {
	var latest []*dropLine // a ring when there is a limit
	n := 0
	var gone error
	err := s.drops.Entries(func(e *bridge.DropEntry) bool {
		if r.Reason != "" && r.Reason != e.Reason || r.Queue != "" && r.Queue != e.Queue || r.Device != "" && r.Device != e.Device ||
			!strings.HasPrefix(e.Topic, r.Topic) || r.Since > 0 && time.Since(e.Dropped) > r.Since {
			return true
		}
		switch l := describeDrop(e); {
		case r.Limit <= 0:
			gone = emit(spoolLine{Dropped: l})
		case len(latest) < r.Limit:
			latest = append(latest, l)
		default:
			latest[n%r.Limit] = l
		}
		n++
		return gone == nil
	})
	if gone != nil {
		return gone
	}
	if len(latest) > 0 {
		latest = slices.Concat(latest[n%len(latest):], latest[:n%len(latest)])
	}
	for _, l := range latest {
		if err := emit(spoolLine{Dropped: l}); err != nil {
			return err
		}
	}
	return err
}

// encode is for commands that print what they are told.
func (f *spoolFlags) encode(cmd *cobra.Command, req spoolRequest) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	return f.do(cmd, req, func(l spoolLine) error { return enc.Encode(l) })
}
