package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/decisions"
)

// adminFlags say which running gateway is asked.
type adminFlags struct {
	config string
	sets   []string
}

func (f *adminFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.config, "config", "c", os.Getenv("EBBGATE_CONFIG"), "configuration file of the gateway that runs (EBBGATE_CONFIG)")
	cmd.Flags().StringArrayVar(&f.sets, "set", nil, "override a setting, such as --set admin.address=127.0.0.1:9883")
}

// ask sends a request to the gateway's admin port and returns the answer's body,
// which is NDJSON.
func (f *adminFlags) ask(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	cfg, err := configs.Load(f.config, os.Environ(), f.sets)
	if err != nil {
		return nil, err
	}
	if cfg.Admin.Address == "" {
		return nil, errors.New("the gateway has no admin port: set admin.address, and restart it")
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+cfg.Admin.Address+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no gateway runs with admin port %s: start one with ebbgate run, or name its configuration with --config", cfg.Admin.Address)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the status says enough
		_ = resp.Body.Close()
		return nil, fmt.Errorf("the gateway at %s answers %s: %s", cfg.Admin.Address, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp.Body, nil
}

// eachLine reads NDJSON until it ends, ctx ends or each says io.EOF.
func eachLine[T any](ctx context.Context, body io.Reader, each func(T) error) error {
	for dec := json.NewDecoder(body); ; {
		var line T
		err := dec.Decode(&line)
		if err == nil {
			err = each(line)
		}
		switch {
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// policyLogCommand is ebbgate policy log.
func policyLogCommand() *cobra.Command {
	var f adminFlags
	var follow, denied, asJSON bool
	var client, action string
	cmd := &cobra.Command{
		Use:   "log",
		Short: "What the policy of a running gateway decided, and why",
		Long: `Show what the policy of a running gateway decided on live traffic: all that was
denied, and of what was allowed the first of each client and action and then one
in log_sample (1000). The gateway remembers the last log_entries (4096).

Allowed requests name the policy and statement that allowed them; denied ones
what denied them, or that nothing allowed them, and the policy variables that had
no value.`,
		Example: `  ebbgate policy log --denied
  ebbgate policy log -f --client press-1
  ebbgate policy log -f --action iot:Publish --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"client": {client}, "action": {action}}
			q.Set("follow", fmt.Sprint(follow))
			q.Set("denied", fmt.Sprint(denied))
			body, err := f.ask(cmd.Context(), http.MethodGet, "/api/v1/policy/log?"+q.Encode(), nil)
			if err != nil {
				return err
			}
			defer func() { _ = body.Close() }()
			out := cmd.OutOrStdout()
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			return eachLine(cmd.Context(), body, func(l decisions.LogLine) error {
				switch {
				case l.Decision == nil:
					_, err := fmt.Fprintf(cmd.ErrOrStderr(), "%d decisions came faster than they could be read; narrow it with --denied or --client\n", l.Missed)
					return err
				case asJSON:
					return enc.Encode(l.Decision)
				}
				_, err := io.WriteString(out, decisionText(l.Decision))
				return err
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as decisions are made, until interrupted")
	cmd.Flags().BoolVar(&denied, "denied", false, "only what was denied")
	cmd.Flags().StringVar(&client, "client", "", "only this client id; of HTTP this certificate id")
	cmd.Flags().StringVar(&action, "action", "", "only this action, such as iot:Publish")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// decisionText is a decision for a person: what was asked, and below it why a
// denied one was.
func decisionText(e *decisions.Entry) string {
	word := "allowed"
	if e.Outcome != decisions.Allowed {
		word = "DENIED "
	}
	text := fmt.Sprintf("%s %s %s %s %s", e.Time.Local().Format("15:04:05.000"), word, cmp.Or(e.ClientID, e.Principal, "-"), strings.TrimPrefix(e.Action, "iot:"), e.Resource)
	if e.Share != "" {
		text += " ($share/" + e.Share + ")"
	}
	if e.Topic != "" {
		text += " (" + e.Topic + ")"
	}
	if e.Outcome == decisions.Allowed {
		return text + "  by " + by(&e.Verdict) + "\n"
	}
	return text + "\n             " + strings.TrimPrefix(e.Reason, "denied: ") + "\n"
}

// by names the statement that decided.
func by(v *decisions.Verdict) string {
	switch {
	case v.Policy == "":
		return cmp.Or(strings.TrimPrefix(v.Reason, "denied: "), "no statement")
	case v.Statement == nil:
		return v.Policy
	}
	return fmt.Sprintf("%s[%d]", v.Policy, *v.Statement)
}
