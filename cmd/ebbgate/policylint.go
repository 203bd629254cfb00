package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/policy/lint"
)

// policyLint are the flags of "ebbgate policy lint".
type policyLint struct {
	options  policyOptions
	things   string
	together bool
	json     bool
	sarif    string
	severity string
	failOn   string
	rules    bool
}

// sarifToOutput is what --sarif without a file stands for.
const sarifToOutput = "-"

func newPolicyLintCommand() *cobra.Command {
	l := &policyLint{}
	cmd := &cobra.Command{
		Use:   "lint PATH...",
		Short: "Find what AWS accepts in a policy and nobody meant",
		Long: `Find what AWS accepts in a policy and nobody meant: MQTT's + and # where a policy
wants * and ?, a Deny that a wider filter goes around, variables that do not
exist, grants on every device's shadow. docs/lint.md lists the rules.

PATH is a policy document, what "aws iot get-policy" printed, a folder with *.json
files, or - for standard input. With --things, rules that look at several documents
judge what each certificate or user has together; without it, each document alone.
With --config, PATH and --things may be left out: they are the configuration's.

A finding is accepted in the document's Id ("lint:ignore L17 the reason") or in
.lint.yaml beside it; both keep the document valid at AWS.

Exit codes: 0 nothing from --fail-on on; 1 something; 2 a wrong command line, or a
file that cannot be read. --fail-on is medium unless --severity says otherwise.`,
		Example: `  ebbgate policy lint policies
  ebbgate policy lint --things things.yaml --severity high policies
  ebbgate policy lint --region eu-central-1 --account 123456789012 device.json
  aws iot get-policy --policy-name device | ebbgate policy lint -
  ebbgate policy lint --sarif=policies.sarif policies`,
		RunE: func(cmd *cobra.Command, args []string) error { return l.do(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&l.options.config, "config", "c", os.Getenv("EBBGATE_CONFIG"), "take paths and the gateway's ARN from this configuration (EBBGATE_CONFIG)")
	f.StringArrayVar(&l.options.sets, "set", nil, "override a setting of the configuration, such as --set policy.region=eu-central-1")
	f.StringVar(&l.options.partition, "partition", "", "ARN partition of the gateway; empty compares none")
	f.StringVar(&l.options.region, "region", "", "ARN region of the gateway; empty compares none")
	f.StringVar(&l.options.account, "account", "", "ARN account of the gateway; empty compares none")
	f.StringVar(&l.things, "things", "", "registry that says which documents go together")
	f.BoolVar(&l.together, "together", false, "without a registry: all documents belong to one principal")
	f.BoolVar(&l.json, "json", false, "print one JSON object a line for each finding")
	f.StringVar(&l.sarif, "sarif", "", "print a SARIF 2.1.0 log, or write it to a file with --sarif=FILE")
	f.Lookup("sarif").NoOptDefVal = sarifToOutput
	f.StringVar(&l.severity, "severity", "low", "report from this severity on: low, medium, high or critical")
	f.StringVar(&l.failOn, "fail-on", "", "exit 1 from this severity on, or never (default: what --severity says, else medium)")
	f.BoolVar(&l.rules, "rules", false, "print the rules as a Markdown page, and do nothing else")
	return cmd
}

func (l *policyLint) do(cmd *cobra.Command, paths []string) error {
	if l.rules {
		_, err := io.WriteString(answers{cmd.OutOrStdout()}, lint.Reference())
		return err
	}
	from, err := lint.ParseSeverity(l.severity)
	if err != nil {
		return invalidf("--severity: %w", err)
	}
	fail, err := l.threshold(cmd.Flags().Changed("severity"), from)
	if err != nil {
		return err
	}
	if l.json && l.sarif == sarifToOutput {
		return invalidf("--json and --sarif both print: name a file with --sarif=FILE, or leave one out")
	}
	opts, err := l.options.read()
	if err != nil {
		return err
	}
	o := lint.Options{
		Gateway: lint.Gateway{Partition: opts.Partition, Region: opts.Region, Account: opts.Account},
		Things:  l.things, Together: l.together, Stdin: cmd.InOrStdin(),
	}
	if len(paths) == 0 && opts.Policies != "" {
		paths = []string{opts.Policies}
		if o.Things == "" {
			o.Things = opts.Things
		}
	}
	if len(paths) == 0 {
		return invalidf("no path is named; see %s --help", cmd.CommandPath())
	}
	if o.Together && o.Things != "" {
		return invalidf("--together and a registry both say what goes together: leave one out")
	}
	report, err := lint.Files(paths, o)
	if err != nil {
		return &exitError{exitInvalid, err}
	}
	if err := l.print(answers{cmd.OutOrStdout()}, report, from); err != nil {
		return err
	}
	if fail > 0 && len(report.From(fail)) > 0 {
		return &exitError{exitFailed, errSaid}
	}
	return nil
}

// threshold is the severity from which on the exit code is 1; 0 is never.
func (l *policyLint) threshold(chosen bool, from lint.Severity) (lint.Severity, error) {
	switch {
	case l.failOn == "never":
		return 0, nil
	case l.failOn != "":
		s, err := lint.ParseSeverity(l.failOn)
		if err != nil {
			return 0, invalidf("--fail-on: %w, or never", err)
		}
		return s, nil
	case chosen:
		return from, nil
	}
	return lint.Medium, nil
}

func (l *policyLint) print(out io.Writer, report *lint.Report, from lint.Severity) error {
	if l.sarif == sarifToOutput {
		return lint.WriteSARIF(out, report, from, version)
	}
	if l.sarif != "" {
		f, err := os.Create(l.sarif)
		if err != nil {
			return invalidf("--sarif: %w; name a file that can be written", err)
		}
		if err := lint.WriteSARIF(f, report, from, version); err != nil {
			_ = f.Close()
			return invalidf("--sarif: %w; name a file that can be written", err)
		}
		if err := f.Close(); err != nil {
			return invalidf("--sarif: %w; name a file that can be written", err)
		}
	}
	if l.json {
		return lint.WriteJSON(out, report, from)
	}
	return lint.WriteText(out, report, from)
}
