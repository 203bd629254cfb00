package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// Options say where the policies are and whose ARNs they are compared with.
type Options struct {
	Things    string `koanf:"things" doc:"Registry file: things, groups, certificates, users. Empty: none, and no certificate is accepted."`
	Policies  string `koanf:"policies" doc:"Folder of AWS IoT policy documents, one <name>.json each. Empty: none, and everything is denied."`
	Partition string `koanf:"partition" doc:"ARN partition of this gateway, such as aws, aws-cn, aws-us-gov or aws-eusc. Empty: the field is not compared."`
	Region    string `koanf:"region" doc:"ARN region of this gateway, such as eu-central-1. Empty: the field is not compared."`
	Account   string `koanf:"account" doc:"ARN account of this gateway, 12 digits. Empty: the field is not compared."`

	Switches `koanf:",squash"`
	Changes  ChangeOptions `koanf:",squash"`
	Site     SiteOptions   `koanf:",squash"`
}

// DefaultOptions compare no partition, region or account, so that a user's own
// AWS documents work as they are.
func DefaultOptions() Options {
	return Options{Things: "things.yaml", Policies: "policies", Switches: DefaultSwitches(), Changes: defaultChanges(), Site: defaultSite()}
}

// Validate finds every problem that can be seen without opening a file.
func (o Options) Validate() []bridge.Problem {
	var problems []bridge.Problem
	check := func(path, value, pattern, remedy string) {
		if value != "" && !regexp.MustCompile(pattern).MatchString(value) {
			problems = append(problems, bridge.Problem{Path: path, Text: "\"" + value + "\" is not possible here", Remedy: remedy})
		}
	}
	check("partition", o.Partition, `^aws(-[a-z]+)*$`, "write aws, aws-cn, aws-us-gov or aws-eusc, or leave it empty to compare no partition")
	check("region", o.Region, `^[a-z]{2,}(-[a-z]+)+-[0-9]+$`, "write a region such as eu-central-1, or leave it empty to compare no region")
	check("account", o.Account, `^[0-9]{12}$`, "write the 12 digits in quotes, or leave it empty to compare no account")
	return slices.Concat(problems, o.Switches.problems(), o.Changes.validate(), o.Site.problems())
}

// problems are those of Validate as one error.
func (o Options) problems() error {
	var wrong []error
	for _, p := range o.Validate() {
		wrong = append(wrong, fmt.Errorf("policy.%s: %s; %s", p.Path, p.Text, p.Remedy))
	}
	return errors.Join(wrong...)
}

// gateway is the part of the options that ARNs are made of.
func (o Options) gateway() gateway {
	return gateway{partition: o.Partition, region: o.Region, account: o.Account, switches: &o.Switches}
}
