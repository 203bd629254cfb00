package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/billing/cur"
)

func newReconcileCommand() *cobra.Command {
	var o billOptions
	cmd := &cobra.Command{
		Use:   "reconcile FILE.csv",
		Short: "Compare with AWS's Cost and Usage Report, and name the cause of each difference",
		Long: `Compare AWS's Cost and Usage Report (CSV, packed with gzip or not, in the form of
CUR 2.0 or the older one) with the ledger in the same span, by account, region and
usage type, and name the cause of each difference. Give the report of one month. An
upstream that names its account (billing.account) is compared with that one only.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := os.Open(args[0])
			if err != nil {
				return &exitError{exitInvalid, fmt.Errorf("open the report: %w; give the file that AWS Data Exports wrote into your bucket, such as data/BILLING_PERIOD=2026-11/report.csv.gz", err)}
			}
			defer in.Close()
			report, err := cur.Read(in)
			if err != nil {
				return &exitError{exitInvalid, fmt.Errorf("%s: %w", args[0], err)}
			}
			cfg, err := configs.LoadToAsk(o.config, os.Environ(), o.sets)
			if err != nil {
				return err
			}
			return withLedger(cmd.Context(), cfg, func(l *billing.Ledger) error {
				all, err := l.Reconcile(report)
				if err != nil {
					return &exitError{exitInvalid, err}
				}
				t := &billTable{out: cmd.OutOrStdout()}
				t.reconciled(report, all)
				return t.err
			})
		},
	}
	o.configFlags(cmd)
	return cmd
}

func (t *billTable) reconciled(r *cur.Report, all []billing.Compared) {
	t.printf("%s to %s (UTC)\n", r.From.Format("2006-01-02 15h"), r.To.Format("2006-01-02 15h"))
	t.printf("  %-14s %-20s %14s %14s %11s\n", "region", "usage", "AWS", "here", "USD, AWS")
	of := ""
	for _, c := range all {
		if c.Account != of {
			of = c.Account
			t.printf("  account %s\n", printable(of))
		}
		if c.Item == billing.Besides {
			t.printf("  %-14s %s\n", cut(c.Region, 14), c.Item)
		} else {
			t.printf("  %-14s %-20s %14s %14s %11s\n", cut(c.Region, 14), cut(c.Item, 20), thousands(c.AWS), thousands(c.Here), c.USD)
		}
		if c.Estimated > 0 {
			t.paragraph("    ", fmt.Sprintf("%s of them here are estimated", thousands(c.Estimated)))
		}
		for _, cause := range c.Causes {
			t.paragraph("    ", printable(cause))
		}
	}
}
