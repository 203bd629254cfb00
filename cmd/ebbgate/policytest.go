package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/policy/policytest"
)

// policyTest are the flags of "ebbgate policy test".
type policyTest struct {
	options  policyOptions
	verbose  bool
	run      string
	json     bool
	junit    string
	coverage bool
	schema   bool
	workers  int
	site     []string
}

func newPolicyTestCommand() *cobra.Command {
	t := &policyTest{}
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run tests of policies, and print like go test",
		Long: `Run the cases of .jsonl and .yaml files, each by the rules in Rego and by the
compiled matchers of the gateway; a case fails too when the two differ.

A YAML file names policies and things once and lists who may do what:

  policies: policies/            # a folder, files, or documents written here
  things: things.yaml            # the registry, or things written here; optional
  tests:
    - client: sensor1
      may: [connect, publish dt/sensor1/temp, subscribe cmd/sensor1/#]
      may not: publish dt/sensor2/temp
    - client: sensor1
      with: {persistent: true, will: dt/sensor1/gone}
      may not: connect

A .jsonl file has one whole case a line, with id, policies, context, request and
expect. docs/how-to/test-policies-in-ci.md describes both.

Rules of your own (*.rego) in a folder that a file names are asked as in the
gateway; for the other cases those of --config's folder, and for all cases those of
--site, if it is given.

The last line is "N passed, M failed". Exit codes: 0 all passed; 1 a case failed;
2 a wrong command line, a file that cannot be read, or a row that is no case.`,
		Example: `  ebbgate policy test tests/*.yaml
  ebbgate policy test -v --run '^sensor1/' tests/sensors.yaml
  ebbgate policy test --junit report.xml --coverage tests/*.yaml
  ebbgate policy test --switch connect_attributes_default=none cases.jsonl`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return t.do(cmd, args) },
	}
	t.options.flags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&t.verbose, "verbose", "v", false, "print cases that pass, too, and the switch that decides where AWS is not certain")
	f.StringVar(&t.run, "run", "", "run only cases whose id matches this regular expression")
	f.BoolVar(&t.json, "json", false, "print one JSON event a line")
	f.StringVar(&t.junit, "junit", "", "also write JUnit XML to this file")
	f.BoolVar(&t.coverage, "coverage", false, "show the statements, resources and conditions that no case reached")
	f.BoolVar(&t.schema, "schema", false, "print the JSON Schema of the YAML format, for editors, and do nothing else")
	f.StringArrayVar(&t.site, "site", nil, siteFlag)
	f.IntVar(&t.workers, "workers", 0, "cases at a time; 0 is one a processor")
	return cmd
}

// errSaid has been said already, in full.
var errSaid = errors.New("")

func (t *policyTest) do(cmd *cobra.Command, files []string) error {
	out := answers{cmd.OutOrStdout()}
	if t.schema {
		_, err := out.Write(policytest.Schema())
		return err
	}
	if len(files) == 0 {
		return invalidf("no file of tests is named; see %s --help", cmd.CommandPath())
	}
	opts, err := t.options.read()
	if err != nil {
		return err
	}
	runner := &policytest.Runner{Options: opts, Workers: t.workers, Name: t.verbose || t.json, Explain: t.coverage, OwnOnly: len(t.site) > 0}
	if runner.Own, err = ownRules(cmd.Context(), t.site, opts.Policies); err != nil {
		return err
	}
	if t.run != "" {
		if runner.Run, err = regexp.Compile(t.run); err != nil {
			return invalidf("--run is no regular expression: %w", err)
		}
	}
	var coverage *policytest.Coverage
	if t.coverage {
		coverage = &policytest.Coverage{}
	}
	var printer policytest.Reporter = &policytest.Text{W: out, Verbose: t.verbose}
	if t.json {
		printer = &policytest.Events{W: out}
	}
	junit := &policytest.JUnit{}
	total, broken, err := runner.Files(cmd.Context(), files, coverage, printer, junit)
	if err != nil {
		return err
	}
	if t.junit != "" {
		if err := writeJUnit(t.junit, junit, total); err != nil {
			return invalidf("--junit: %w; name a file that can be written", err)
		}
	}
	if coverage != nil {
		if err := t.report(out, coverage.Report()); err != nil {
			return err
		}
	}
	if err := printer.End(total); err != nil {
		return err
	}
	switch {
	case broken > 0:
		return &exitError{exitInvalid, errSaid}
	case total.Failed > 0:
		return &exitError{exitFailed, errSaid}
	}
	return nil
}

func (t *policyTest) report(out io.Writer, r *policytest.Report) error {
	if t.json {
		return (&policytest.Events{W: out}).Print(policytest.Event{Action: "coverage", Coverage: r})
	}
	return r.Write(out)
}

func writeJUnit(path string, junit *policytest.JUnit, total policytest.Summary) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := junit.Write(f, total); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return f.Close()
}
