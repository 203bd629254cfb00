package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/policy"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Ask, test and check AWS IoT policies without AWS",
		Long: `Ask, test and check AWS IoT policies without AWS, by the engine that decides in
the gateway. eval, test and lint need neither a gateway nor the network; log and
dry-run ask a running gateway, pull and verify ask AWS.`,
		Example: `  ebbgate policy eval --policy device.json --client-id sensor1 \
      --action iot:Publish --resource topic/dt/sensor1/temp --explain
  ebbgate policy test tests/*.yaml
  ebbgate policy lint policies`,
	}
	cmd.AddCommand(asDesk(newPolicyEvalCommand()), asDesk(newPolicyTestCommand()), asDesk(newPolicyLintCommand()))
	cmd.AddCommand(newPolicyPullCommand(), newPolicyVerifyCommand())
	cmd.AddCommand(policyLogCommand(), policyDryRunCommand())
	return cmd
}

// policyOptions are the settings that decide: those of the configuration, and
// flags above it.
type policyOptions struct {
	config                     string
	sets                       []string
	partition, region, account string
	switches                   []string
	listeners                  []localbroker.ListenerOptions // of the configuration, when one is named
}

func (o *policyOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.config, "config", "c", os.Getenv("EBBGATE_CONFIG"), "take the policy section of this configuration (EBBGATE_CONFIG)")
	f.StringArrayVar(&o.sets, "set", nil, "override a setting of the configuration, such as --set policy.region=eu-central-1")
	f.StringVar(&o.partition, "partition", "", "ARN partition of the gateway; empty compares none")
	f.StringVar(&o.region, "region", "", "ARN region of the gateway; empty compares none")
	f.StringVar(&o.account, "account", "", "ARN account of the gateway; empty compares none")
	f.StringArrayVar(&o.switches, "switch", nil, "set what AWS leaves open, such as --switch connect_attributes_default=none; may be repeated (docs/policy.md)")
}

// read gives the options in force. Without a configuration they are the
// defaults, and no files.
func (o *policyOptions) read() (policy.Options, error) {
	opts := policy.DefaultOptions()
	opts.Things, opts.Policies = "", ""
	if o.config != "" || len(o.sets) > 0 {
		cfg, err := configs.Load(o.config, os.Environ(), o.sets)
		if err != nil {
			return opts, &exitError{exitInvalid, err}
		}
		opts, o.listeners = cfg.Policy, cfg.Broker.Listeners
	}
	opts.Partition = cmp.Or(o.partition, opts.Partition)
	opts.Region = cmp.Or(o.region, opts.Region)
	opts.Account = cmp.Or(o.account, opts.Account)
	for _, text := range o.switches {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return opts, invalidf("--switch %s has no value; write name=value", text)
		}
		if err := opts.Set(name, value); err != nil {
			return opts, &exitError{exitInvalid, err}
		}
	}
	for _, p := range opts.Validate() {
		return opts, invalidf("%s: %s; %s", p.Path, p.Text, p.Remedy)
	}
	return opts, nil
}

// invalidf is an error of the command line or of a file.
func invalidf(format string, args ...any) error {
	return &exitError{exitInvalid, fmt.Errorf(format, args...)}
}
