package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/decisions"
	"github.com/ebbgate/ebbgate/policy"
)

// soon is how long a dry run lasts that is not followed.
const soon = time.Minute

// dryRun is one ebbgate policy dry-run.
type dryRun struct {
	adminFlags
	request decisions.DryRunRequest
	follow  bool
	json    bool
	during  time.Duration

	found    []*decisions.Difference // in the order in which they came; by id - 1
	progress decisions.Progress
}

// policyDryRunCommand is ebbgate policy dry-run.
func policyDryRunCommand() *cobra.Command {
	d := new(dryRun)
	cmd := &cobra.Command{
		Use:   "dry-run --policies DIR",
		Short: "What another set of policies would change, on live traffic",
		Long: `Ask a running gateway to load a candidate set of policies beside the active one
and to evaluate it on live traffic. Only what the candidate would answer otherwise
is reported: who, what, and by which statement. Nothing that the active policy
answers is slowed down or changed; requests that the candidate cannot keep up with
are left out and counted. The gateway reads the files itself, so its user must be
able to. One dry run at a time.

First those who are connected are compared, with their connections and
subscriptions: these are what a reload would end. Then comes what devices do for
--for, or with -f until interrupted. A device whose certificate is not registered
in the active set does not get as far as its policies, and is not seen.

Exit code 0 when it was done, differences or not; 2 when the candidate is not
valid.`,
		Example: `  ebbgate policy dry-run --policies new-policies
  ebbgate policy dry-run --policies new-policies --things new-things.yaml -f
  ebbgate policy dry-run --policies new-policies --for 0s --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	d.register(cmd)
	cmd.Flags().StringVar(&d.request.Policies, "policies", "", "folder of the candidate's policy documents")
	cmd.Flags().StringVar(&d.request.Things, "things", "", "registry file of the candidate (default: the active one)")
	cmd.Flags().BoolVarP(&d.follow, "follow", "f", false, "print differences as they appear, until interrupted")
	cmd.Flags().DurationVar(&d.during, "for", soon, "how long to compare; 0s compares only those who are connected")
	cmd.Flags().BoolVar(&d.json, "json", false, "print one JSON object a line")
	return cmd
}

func (d *dryRun) run(cmd *cobra.Command) error {
	if d.request.Policies == "" {
		return &exitError{exitInvalid, errors.New("name the candidate's folder with --policies; see ebbgate policy dry-run --help")}
	}
	for _, path := range []*string{&d.request.Policies, &d.request.Things} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	body, err := json.Marshal(d.request)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	answer, err := d.ask(ctx, http.MethodPost, "/api/v1/policy/dry-run", bytes.NewReader(body))
	if err != nil {
		return err
	}
	// What ends a dry run in time is that its reader goes.
	var end *time.Timer
	defer func() {
		if end != nil {
			end.Stop()
		}
		_ = answer.Close()
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = answer.Close() })
	defer stop()
	err = eachLine(ctx, answer, func(l decisions.DryRunLine) error {
		if l.Error != "" {
			return &exitError{exitInvalid, errors.New(l.Error)}
		}
		if l.Progress != nil {
			d.progress = *l.Progress
			if !d.follow && end == nil { // those who were there have been compared
				if d.during <= 0 {
					return io.EOF
				}
				end = time.AfterFunc(d.during, cancel)
			}
		}
		if l.Difference != nil {
			return d.take(cmd.OutOrStdout(), l.Difference)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.summarise(cmd.OutOrStdout())
}

// take remembers a difference, or its new count.
func (d *dryRun) take(w io.Writer, x *decisions.Difference) error {
	if x.ID <= len(d.found) && x.ID > 0 {
		d.found[x.ID-1] = x
		return nil
	}
	d.found = append(d.found, x)
	if !d.follow || d.json {
		return nil
	}
	return describeDifference(w, x)
}

func describeDifference(w io.Writer, x *decisions.Difference) error {
	_, err := fmt.Fprintf(w, "%s: %s %s %s\n  active:    %s\n  candidate: %s\n", change(x), x.ClientID, x.Action, x.Resource, reasonOf(&x.Active), reasonOf(&x.Candidate))
	return err
}

// change says what the candidate would change.
func change(x *decisions.Difference) string {
	if x.Candidate.Outcome == decisions.Allowed {
		return "would be ALLOWED"
	}
	return "would be DENIED"
}

// reasonOf is a verdict in a line.
func reasonOf(v *decisions.Verdict) string {
	if v.Policy != "" {
		return v.Outcome + " by " + by(v)
	}
	return v.Outcome + ": " + strings.TrimPrefix(v.Reason, "denied: ")
}

// summarise prints all differences with their counts.
func (d *dryRun) summarise(w io.Writer) error {
	if d.json {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, x := range d.found {
			if err := enc.Encode(decisions.DryRunLine{Difference: x}); err != nil {
				return err
			}
		}
		return enc.Encode(decisions.DryRunLine{Progress: &d.progress})
	}
	p := d.progress
	for _, x := range d.found {
		if _, err := fmt.Fprintf(w, "%d× ", x.Count); err != nil {
			return err
		}
		if err := describeDifference(w, x); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d requests compared (%d of connections and subscriptions that were there), %d answered otherwise", p.Asked, p.Present, p.Differ)
	if p.More > 0 {
		_, _ = fmt.Fprintf(w, ", %d of them beyond the differences listed", p.More)
	}
	if p.Skipped > 0 {
		_, _ = fmt.Fprintf(w, "; %d left out, the candidate did not keep up", p.Skipped)
	}
	_, _ = fmt.Fprintln(w)
	return err
}

// candidate loads the candidate of a dry run with the switches of the active
// set.
func (g *gateway) candidate(r decisions.DryRunRequest) (bridge.Authorizer, error) {
	g.mu.Lock()
	o := g.cfg.Policy
	g.mu.Unlock()
	if o.Policies = r.Policies; r.Things != "" {
		o.Things = r.Things
	}
	e, err := policy.Load(o)
	if err != nil {
		return nil, err
	}
	return e, nil
}
