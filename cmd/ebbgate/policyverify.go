package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/policy/account"
	"github.com/ebbgate/ebbgate/policy/policytest"
)

func newPolicyVerifyCommand() *cobra.Command {
	var f accountFlags
	var o account.VerifyOptions
	var against, all bool
	var switches []string
	cmd := &cobra.Command{
		Use:   "verify --against-aws [CASES...]",
		Short: "Ask AWS whether it decides as the gateway does",
		Long: `Put the same questions to AWS (TestAuthorization) and to the engine of the
gateway, and print where the answers differ. AWS decides by what is in the
account, the gateway by the files: run "ebbgate policy pull" before.

Without CASES the questions are made of what the policies name: for each thing
with an active certificate, as it would connect; without --things for each
document by itself. One thing of every kind comes first, --limit cuts the rest.
With CASES, in the format of "ebbgate policy test", those are asked whose
documents are in the account and which TestAuthorization can be told.

Nothing is changed anywhere. Exit codes: 0 all answers are equal; 1 some differ,
or AWS refused; 2 wrong usage, or files that do not load.`,
		Example: `  ebbgate policy verify --against-aws --policies policies --things things.yaml
  ebbgate policy verify --against-aws --policies policies cases.jsonl --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !against {
				return invalidf("say what to verify against: --against-aws asks the AWS account; \"ebbgate policy test\" needs none")
			}
			if o.Limit < 0 {
				return invalidf("--limit %d: write how many questions to ask, 0 for all", o.Limit)
			}
			for _, text := range switches {
				name, value, ok := strings.Cut(text, "=")
				if !ok {
					return invalidf("--switch %s has no value; write name=value", text)
				}
				if err := o.Switches.Set(name, value); err != nil {
					return &exitError{exitInvalid, err}
				}
			}
			var err error
			if o.Cases, err = casesOf(args); err != nil {
				return &exitError{exitInvalid, err}
			}
			a, progress, err := f.open(cmd)
			if err != nil {
				return err
			}
			v, err := a.Verify(cmd.Context(), o)
			progress.end()
			if faults, ok := errors.AsType[policy.Faults](err); ok {
				return &exitError{exitInvalid, faults}
			}
			if err != nil {
				return err
			}
			if f.json {
				err = printIndented(answers{cmd.OutOrStdout()}, v)
			} else {
				err = printVerification(answers{cmd.OutOrStdout()}, v, all)
			}
			if err == nil && len(v.Differences) > 0 {
				err = fmt.Errorf("%d of %s differ", len(v.Differences), count(v.Asked, "answer"))
			}
			if err == nil && v.Asked == 0 {
				err = errors.New("no question could be asked; pull the account's policies, or give cases about them")
			}
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&against, "against-aws", false, "ask the AWS account of these credentials")
	cmd.Flags().StringVar(&o.Policies, "policies", "policies", "folder of policy documents")
	cmd.Flags().StringVar(&o.Things, "things", "", "registry, things.yaml; without it each document is asked about by itself")
	cmd.Flags().StringArrayVar(&switches, "switch", nil, "set what AWS leaves open, such as --switch share_receive=topic; may be repeated")
	cmd.Flags().IntVar(&o.Limit, "limit", 1000, "most questions to make; 0 is no limit")
	cmd.Flags().BoolVarP(&all, "verbose", "v", false, "also list the questions that were not asked")
	return cmd
}

// casesOf reads files of cases, those of "ebbgate policy test".
func casesOf(files []string) ([]account.Case, error) {
	var out []account.Case
	for _, file := range files {
		cases, err := policytest.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, c := range cases {
			asked := account.Case{Name: c.ID, Context: c.Context, Questions: c.Questions}
			for _, d := range c.Documents {
				asked.Documents = append(asked.Documents, d.Document)
			}
			out = append(out, asked)
		}
	}
	return out, nil
}

// printVerification prints the differences as a table and the rest in a line.
func printVerification(w io.Writer, v *account.Verification, all bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(v.Differences) > 0 {
		_, _ = fmt.Fprintln(t, "HERE\tAWS\tQUESTION")
	}
	for _, d := range v.Differences {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s %s\n", d.Here, d.AWS, strings.TrimPrefix(d.Action, "iot:"), d.Resource)
		line := func(what string, list []string) {
			if len(list) > 0 {
				_, _ = fmt.Fprintf(t, "\t\t  %s %s\n", what, strings.Join(list, ", "))
			}
		}
		_, _ = fmt.Fprintf(t, "\t\t  %s as client %q\n", d.Name, d.ClientID)
		line("here by", d.HereBy)
		line("AWS by policy", d.AWSBy)
		line("no value here for", d.HereMissing)
		line("no value at AWS for", d.AWSMissing)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, n := range v.Notes {
		fmt.Fprintf(&b, "note: %s %s\n", n.Subject, n.Text)
	}
	why := map[string]int{}
	for _, s := range v.Skipped {
		if all {
			fmt.Fprintf(&b, "not asked: %s: %s\n", filepath.ToSlash(s.Name), s.Why)
		} else if why[s.Why]++; why[s.Why] == 1 {
			fmt.Fprintf(&b, "not asked: %s, for instance: %s\n", s.Name, s.Why)
		}
	}
	if v.Left > 0 {
		fmt.Fprintf(&b, "not asked: %s of more things; --limit 0 asks all\n", count(v.Left, "question"))
	}
	fmt.Fprintf(&b, "account %s, %s: %s asked, %d differ, %d not asked\n", v.Account, v.Region, count(v.Asked, "question"), len(v.Differences), len(v.Skipped)+v.Left)
	_, err := io.WriteString(w, b.String())
	return err
}
