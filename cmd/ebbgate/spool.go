package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
)

// spoolFlags are what all spool commands share.
type spoolFlags struct {
	config string
	sets   []string
	json   bool
	yes    bool
}

func newSpoolCommand() *cobra.Command {
	f := new(spoolFlags)
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "Look into the spool, check it, and move or drop what is in it",
		Long: `Look into the spool, check it, and move or drop what is in it. A running
gateway is asked on its admin port; without one the spool is opened directly.

Queues are named direction/upstream/route: up/aws/telemetry waits for the cloud,
down/aws/commands for devices, dead/up/aws/telemetry was refused by the cloud for
good and waits for a person.`,
	}
	f.common(cmd)
	cmd.AddCommand(f.stat(), f.ls(), f.peek(), f.export(), f.verify(), f.repair(), f.requeue(), f.drop(), f.why())
	return cmd
}

func (f *spoolFlags) stat() *cobra.Command {
	return &cobra.Command{
		Use: "stat", Short: "Queues, depths, ages, what is kept for devices, and the disk", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.table(cmd, spoolRequest{Op: "stat"}, "QUEUE\tMESSAGES\tBYTES\tOLDEST\tACCEPTED\tDELIVERED\tDROPPED\tCONSUMED\tMOVED\tLOST\tDRAINED IN", func(l spoolLine) string {
				switch {
				case l.Queue != nil:
					q := l.Queue
					return fmt.Sprintf("%s\t%d\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s", q.Name, q.Records, humanSize(q.Bytes), humanAge(seconds(q.Oldest)),
						q.Accepted, q.Delivered, q.Dropped, q.Consumed, q.Moved, q.Lost, cmp.Or(q.Drain, "-"))
				case l.Usage != nil:
					u := l.Usage
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "disk: %s used by %d generations and the state, %s free\n", humanSize(u.Disk), u.Generations, humanSize(u.Free))
					if u.Full != "" {
						_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "full: %s\n", u.Full)
					}
				case l.Shelf != nil:
					h := l.Shelf
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "shelf: %d sessions, for which %d messages (%s) wait; %d retained messages (%s); %d wills\n",
						h.Sessions, h.Queued, humanSize(h.QueuedBytes), h.Retained, humanSize(h.RetainedBytes), h.Wills)
				}
				return ""
			})
		},
	}
}

func (f *spoolFlags) ls() *cobra.Command {
	req := spoolRequest{Op: "list"}
	cmd := &cobra.Command{
		Use: "ls [QUEUE]", Short: "List what waits", Args: cobra.MaximumNArgs(1),
		Example: "  ebbgate spool ls up/aws/telemetry --limit 20\n  ebbgate spool ls dead/up/aws/telemetry",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				req.Queue = args[0]
			}
			return f.table(cmd, req, "QUEUE\tPLACE\tAGE\tDEVICE\tTOPIC\tSIZE\tWHY", func(l spoolLine) string {
				if l.Record == nil {
					return ""
				}
				r := l.Record
				return fmt.Sprintf("%s\t%d\t%s\t%s\t%s\t%d\t%s", printable(r.Queue), r.Place, humanAge(seconds(r.Age)),
					cut(r.Device, deviceColumn), cut(r.Topic, topicColumn), r.Size, printable(r.Why))
			})
		},
	}
	cmd.Flags().IntVar(&req.Limit, "limit", 100, "most messages to list; 0 lists all")
	cmd.Flags().Uint64Var((*uint64)(&req.From), "from", 0, "first place to list")
	return cmd
}

func (f *spoolFlags) peek() *cobra.Command {
	req := spoolRequest{Op: "list", Limit: 1, Full: true}
	cmd := &cobra.Command{
		Use: "peek QUEUE", Short: "Show one message whole, the oldest by default", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Queue = args[0]
			found := false
			err := f.do(cmd, req, func(l spoolLine) error {
				if l.Record == nil {
					return nil
				}
				found = true
				return printIndented(cmd.OutOrStdout(), l.Record)
			})
			if err == nil && !found {
				err = fmt.Errorf("queue %s holds nothing there; ebbgate spool stat lists the queues", req.Queue)
			}
			return err
		},
	}
	cmd.Flags().Uint64Var((*uint64)(&req.From), "place", 0, "place of the message, as ls shows it")
	return cmd
}

func (f *spoolFlags) export() *cobra.Command {
	req := spoolRequest{Op: "list", Full: true}
	cmd := &cobra.Command{
		Use: "export [QUEUE]", Short: "Write messages to standard output, a JSON object a line; nothing is removed", Args: cobra.MaximumNArgs(1),
		Example: "  ebbgate spool export > backlog.ndjson",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				req.Queue = args[0]
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			return f.do(cmd, req, func(l spoolLine) error {
				if l.Record == nil {
					return nil
				}
				return enc.Encode(l.Record)
			})
		},
	}
	return cmd
}

func (f *spoolFlags) requeue() *cobra.Command {
	req := spoolRequest{Op: "requeue"}
	cmd := &cobra.Command{
		Use: "requeue QUEUE", Short: "Send dead letters again, or move messages to another queue", Args: cobra.ExactArgs(1),
		Long: `Send dead letters again, or move messages to another queue: those that the queue
holds now, and none that come to it meanwhile. Ctrl-C ends it; what was moved by
then stays so.

A queue that a running gateway is delivering is refused, since what is in flight
would be delivered twice: one whose upstream has a link, one to the site, and one
that waits for the steps of its route. Let the gateway empty it, or stop the
gateway and move what is left.

What waits for the steps of a route that is gone (raw/…) goes through those of another
to its raw/… queue, and past all steps to every other queue. What a window has summed
up by then becomes a message there, which says of how many.`,
		Example: "  ebbgate spool requeue dead/up/aws/telemetry\n  ebbgate spool requeue up/aws/old --to up/aws/telemetry",
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Queue = args[0]
			if req.To == "" && isDead(req.Queue) {
				req.To = strings.TrimPrefix(req.Queue, "dead/")
			}
			return f.change(cmd, req, "moved")
		},
	}
	cmd.Flags().StringVar(&req.To, "to", "", "queue to move to (default for dead letters: where they came from)")
	cmd.Flags().IntVar(&req.Limit, "limit", 0, "most messages to move; 0 moves all")
	cmd.Flags().Uint64Var((*uint64)(&req.From), "from", 0, "first place to move")
	return cmd
}

func (f *spoolFlags) drop() *cobra.Command {
	req := spoolRequest{Op: "drop"}
	cmd := &cobra.Command{
		Use: "drop QUEUE", Short: "Give up messages for good", Args: cobra.ExactArgs(1),
		Long: `Give up messages for good: those that the queue holds now, and none that come to
it meanwhile. Ctrl-C ends it; what was dropped by then stays so.

A queue that waits for the steps of its route (raw/…) is refused beside a running
gateway, which would send what is in open batches and windows all the same: drop what
they become, or stop the gateway first.`,
		Example: "  ebbgate spool drop dead/up/aws/telemetry --yes\n  ebbgate spool drop up/aws/telemetry --from 17 --limit 1 --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Queue = args[0]
			if !f.yes {
				return &exitError{exitInvalid, fmt.Errorf("drop loses messages for good: export them first, then add --yes")}
			}
			return f.change(cmd, req, "dropped")
		},
	}
	cmd.Flags().BoolVar(&f.yes, "yes", false, "really drop")
	cmd.Flags().IntVar(&req.Limit, "limit", 0, "most messages to drop; 0 drops all")
	cmd.Flags().Uint64Var((*uint64)(&req.From), "from", 0, "first place to drop")
	return cmd
}

// table prints lines as columns, or as JSON.
func (f *spoolFlags) table(cmd *cobra.Command, req spoolRequest, head string, row func(spoolLine) string) error {
	if f.json {
		return f.encode(cmd, req)
	}
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(out, head)
	rows := 0
	err := f.do(cmd, req, func(l spoolLine) error {
		if l.Missing != "" {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "missing: "+printable(l.Missing))
			return nil
		}
		if text := row(l); text != "" {
			rows++
			_, err := fmt.Fprintln(out, text)
			return err
		}
		return nil
	})
	if err != nil && rows == 0 {
		return err // not even the heading
	}
	return errors.Join(err, out.Flush())
}

// do has a running gateway do the operation, or does it itself.
func (f *spoolFlags) do(cmd *cobra.Command, req spoolRequest, each func(spoolLine) error) error {
	ctx := cmd.Context()
	cfg, err := configs.Load(f.config, os.Environ(), f.sets)
	if err != nil {
		return err
	}
	if cfg.Admin.Address != "" {
		err := askSpool(ctx, cfg.Admin.Address, req, each)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
	if _, err := os.Stat(cfg.Spool.Dir); err != nil {
		return fmt.Errorf("there is no spool: %w; name the configuration with --config, or the folder with --set spool.dir=DIR", err)
	}
	s, err := takeSpool(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health), Command: cmd.CommandPath()})
	if err != nil {
		return err
	}
	queues, err := routed(cfg.Routes)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	drops, err := openDrops(s)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	d := &desk{Spool: s, drops: drops, queues: queues}
	err = d.operate(ctx, req, each)
	found := tellFound(cmd.ErrOrStderr(), s)
	for _, text := range s.Found() {
		if err == nil {
			err = each(spoolLine{Found: text})
		}
	}
	if req.Op == "repair" {
		found = nil // it was asked to
	}
	return errors.Join(err, found, s.Close())
}

// errFound is how a command ends that has opened a damaged spool without a gateway.
var errFound = errors.New("the spool was damaged: opening it has found what is told above, and dealt with it; the gateway tells it as well when it starts")

// tellFound prints what opening a spool, and reading it, has found damaged.
func tellFound(w io.Writer, s *spool.Spool) error {
	list := s.Found()
	for _, text := range list {
		_, _ = fmt.Fprintln(w, "found: "+printable(text))
	}
	if len(list) == 0 {
		return nil
	}
	return errFound
}

// takeSpool opens the spool; a disk without room for it has an exit code of its own.
func takeSpool(o spool.Options, deps spool.Deps) (*spool.Spool, error) {
	s, err := spool.Open(o, deps)
	if bridge.KindOf(err) == bridge.Full {
		err = &exitError{exitFull, err}
	}
	return s, err
}

// askSpool sends the request to a running gateway.
func askSpool(ctx context.Context, address string, req spoolRequest, each func(spoolLine) error) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1/spool", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway at %s answers %s", address, resp.Status)
	}
	for dec := json.NewDecoder(resp.Body); ; {
		var l spoolLine
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the gateway at %s: %w", address, err)
		}
		if l.Error != "" {
			return errors.New(l.Error)
		}
		if err := each(l); err != nil {
			return err
		}
	}
}

// Columns of the tables: longer names are cut, and whole with --json.
const (
	deviceColumn = 16
	topicColumn  = 24
)

// printIndented prints an object for people. What JSON leaves of what a terminal
// obeys, 0x7F to 0x9F, can only be in texts, and is escaped as JSON does with the rest.
func printIndented(w io.Writer, v any) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	var out bytes.Buffer
	for _, r := range text.String() {
		if r != '\n' && unicode.IsControl(r) {
			_, _ = fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	_, err := out.WriteTo(w)
	return err
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func humanSize(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
