package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// billTimeout bounds how long a running gateway may take to answer.
const billTimeout = 10 * time.Second

// bills are what the command prints; nil when not asked for.
type bills struct {
	Today *billing.Bill `json:"today,omitempty"`
	Month *billing.Bill `json:"month,omitempty"`
}

func newBillCommand() *cobra.Command {
	var o struct {
		config string
		sets   []string
		month  bool
		by     string
		json   bool
	}
	cmd := &cobra.Command{
		Use:   "bill",
		Short: "Show what the clouds bill: today's and this month's metered messages",
		Long: `Show the metered messages of today and of this month (UTC) by upstream,
device and topic prefix, and what they cost.

"metered" messages were acknowledged by the cloud; "uncertain" ones were sent,
their acknowledgement never came, and they were sent again: the cloud may have
billed them, or not. A running gateway is asked; else its spool is read.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.by != "" && o.by != byDevice && o.by != byTopic {
				return &exitError{exitInvalid, fmt.Errorf("--by %s: write device or topic", o.by)}
			}
			cfg, err := configs.Load(o.config, os.Environ(), o.sets)
			if err != nil {
				return err
			}
			b, err := readBills(cmd.Context(), cfg, !o.month)
			if err != nil {
				return err
			}
			if o.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
			}
			return printBills(cmd.OutOrStdout(), b, o.by)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.config, "config", "c", os.Getenv("EBBGATE_CONFIG"), "configuration file; without one the defaults hold (EBBGATE_CONFIG)")
	f.StringArrayVar(&o.sets, "set", nil, "override a setting, such as admin.address=127.0.0.1:9900")
	f.BoolVar(&o.month, "month", false, "only this month")
	f.StringVar(&o.by, "by", "", "group by device or by topic (default both)")
	f.BoolVar(&o.json, "json", false, "print the whole ledger as JSON")
	return cmd
}

// readBills asks the running gateway, or opens its spool when there is none.
func readBills(ctx context.Context, cfg *configs.Config, today bool) (*bills, error) {
	b, err := askBills(ctx, cfg.Admin.Address, today)
	if err == nil || !errors.Is(err, syscall.ECONNREFUSED) && cfg.Admin.Address != "" {
		return b, err
	}
	if _, err := os.Stat(cfg.Spool.Dir); err != nil {
		return nil, fmt.Errorf("no gateway answers at %s, and there is no spool: %w", cmp.Or(cfg.Admin.Address, "(no admin address)"), err)
	}
	s, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		return nil, err
	}
	b, err = makeBills(s, billingOf(cfg), today)
	return b, errors.Join(err, s.Close())
}

func makeBills(s billing.Counters, upstreams map[string]billing.Options, today bool) (*bills, error) {
	ledger, err := billing.NewLedger(s, upstreams)
	if err != nil {
		return nil, err
	}
	b, now := &bills{}, time.Now()
	if b.Month, err = ledger.Bill(billing.Month(now)); err == nil && today {
		b.Today, err = ledger.Bill(billing.Today(now))
	}
	return b, err
}

func askBills(ctx context.Context, address string, today bool) (*bills, error) {
	ctx, cancel := context.WithTimeout(ctx, billTimeout)
	defer cancel()
	b := &bills{}
	if err := askBill(ctx, address, "month", &b.Month); err != nil {
		return nil, err
	}
	if today {
		if err := askBill(ctx, address, "today", &b.Today); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func askBill(ctx context.Context, address, period string, into **billing.Bill) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/bill?period="+period, nil)
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the gateway at %s: %s", address, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask the gateway at %s: %w", address, err)
	}
	return nil
}

// billingOf collects how each upstream bills, its region read from the endpoint
// when it is not set.
func billingOf(cfg *configs.Config) map[string]billing.Options {
	out := map[string]billing.Options{}
	for name, u := range cfg.Upstreams {
		o := u.Billing
		o.Region = cmp.Or(o.Region, billing.RegionOf(u.MQTT.Endpoint))
		out[name] = o
	}
	return out
}
