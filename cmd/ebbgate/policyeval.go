package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/policy/policytest"
	"github.com/ebbgate/ebbgate/policy/policytest/explain"
)

// policyEval are the flags of "ebbgate policy eval".
type policyEval struct {
	options  policyOptions
	files    []string
	folder   string
	things   string
	attach   []string
	site     []string
	client   policytest.Client
	context  policy.Context // of flags; what is empty was not given
	attrs    map[string]string
	detached bool
	question policy.Question
	will     string
	topic    string
	persist  bool
	explain  bool
	json     bool
}

func newPolicyEvalCommand() *cobra.Command {
	e := &policyEval{}
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Ask whether a client may do something, and why",
		Long: `Ask whether a client may do something. The policies are those that the registry
attaches to it (--policies with --things), all of a folder (--policies alone), or
the files of --policy. With --config, folder and registry are those of the
configuration, and a --user has the policies of its listener too.

Rules of your own (*.rego) beside the documents are asked as in the gateway, or
those of --site in their place.

--resource is a whole ARN, or short: topic/a/b, topicfilter/a/#, client/c,
thing/t. Of a short one, only the parts of the ARN are compared that --region,
--account and --partition, or the configuration, set.

--explain says which policy, statement and condition decided, what the variables
stood for, what had no value, and for a denial that no Deny made, the statement
that came closest and what kept it out. --json prints the fields of AWS's
TestAuthorization, with the indices of the statements.

Exit codes: 0 allowed; 1 denied; 2 a wrong command line, policy or registry.`,
		Example: `  ebbgate policy eval --policies policies --things things.yaml \
      --client-id press-1 --action iot:Publish --resource topic/dt/press-1 --explain
  ebbgate policy eval --policy device.json --client-id s1 --thing s1 \
      --attribute line=a --action iot:Connect --persistent --will-topic s1/gone
  ebbgate policy eval --config ebbgate.yaml --client-id s1 --json \
      --action iot:Subscribe --resource 'topicfilter/$share/g/a/#'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.do(cmd) },
	}
	e.options.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&e.files, "policy", nil, "a policy document that applies; may be repeated")
	f.StringVar(&e.folder, "policies", "", "a folder of policy documents, <name>.json each")
	f.StringVar(&e.things, "things", "", "the registry: which policies apply, and what is known of things")
	f.StringSliceVar(&e.attach, "attach", nil, "names of the policies of --policies that apply, in place of the registry's")
	f.StringVar(&e.client.ID, "client-id", "", "the client id")
	f.StringVar(&e.client.Thing, "thing", "", "the thing of the connection; with --things, whose certificate is presented")
	f.StringVar(&e.client.Certificate, "certificate", "", "the certificate that is presented: its id, or a PEM file")
	f.StringVar(&e.client.User, "user", "", "the user name of a password listener")
	f.StringVar(&e.client.Listener, "listener", "", "the listener that the client comes in by; with --config a --user has its policies")
	f.StringArrayVar(&e.site, "site", nil, siteFlag)
	f.StringVar(&e.context.ThingType, "thing-type", "", "the type of the thing")
	f.StringToStringVar(&e.attrs, "attribute", nil, "an attribute of the thing, as name=value; may be repeated")
	f.BoolVar(&e.detached, "not-attached", false, "the thing is not attached to the certificate")
	f.BoolVar(&e.context.ThingExclusive, "exclusive", false, "the certificate belongs to the thing alone, so that the client id is free")
	f.StringVar(&e.context.SourceIP, "source-ip", "", "the address that the client comes from")
	f.StringVar(&e.context.DomainName, "domain", "", "the endpoint's domain name")
	f.StringVar(&e.context.SourceVPCE, "source-vpce", "", "the VPC endpoint that the client comes through")
	f.StringVar(&e.context.Protocol, "protocol", "", "mqtt or http")
	f.StringVar(&e.context.CurrentTime, "time", "", "the time, such as 2026-06-01T12:00:00Z; now when left out")
	f.StringVar(&e.question.Action, "action", "", "the action, such as iot:Publish")
	f.StringVar(&e.question.Resource, "resource", "", "the resource, such as topic/a/b; that of iot:Connect is the client")
	f.BoolVar(&e.persist, "persistent", false, "iot:Connect: clean session off, or a session expiry over 0")
	f.StringVar(&e.will, "will-topic", "", "iot:Connect: with a will to this topic")
	f.StringVar(&e.topic, "topic", "", "iot:SendDirectMessage: the message's topic; the resource is the client that it is for")
	f.StringVar(&e.question.Share, "share", "", "iot:Receive: through a shared subscription of this group")
	f.BoolVar(&e.explain, "explain", false, "say why")
	f.BoolVar(&e.json, "json", false, "print one JSON object")
	return cmd
}

func (e *policyEval) do(cmd *cobra.Command) error {
	opts, err := e.options.read()
	if err != nil {
		return err
	}
	if err := e.complete(&opts); err != nil {
		return err
	}
	if err := enter(&e.client, e.options.listeners); err != nil {
		return err
	}
	site, err := e.open()
	if err != nil {
		return &exitError{exitInvalid, err}
	}
	sources, context, err := e.stand(site)
	if err != nil {
		return &exitError{exitInvalid, err}
	}
	own := site.Own()
	if len(e.site) > 0 || len(e.files) > 0 {
		if own, err = ownRules(cmd.Context(), e.site, opts.Policies); err != nil {
			return err
		}
	}
	desk, err := policy.NewDesk(opts)
	if err != nil {
		return &exitError{exitInvalid, err}
	}
	desk = desk.Under(own)
	c := explain.Case{Context: context, Question: e.question, Place: policytest.Places(sources)}
	for _, s := range sources {
		c.Documents = append(c.Documents, s.Document)
	}
	if c.Answer, err = desk.Ask(cmd.Context(), c.Documents, context, e.question); err != nil {
		return &exitError{exitInvalid, policytest.Placed(err, sources)}
	}
	fast, err := desk.Compiled(cmd.Context(), c.Documents, context, e.question)
	if err != nil {
		return err
	}
	if fast.Allowed != (c.Answer.Outcome == policy.Allowed) {
		return fmt.Errorf("the rules say %s, the compiled matchers %q: a fault of this program; please report it with the policies", c.Answer.Outcome, fast.Reason)
	}
	if receive, ok := explain.Delivery(e.question); ok && e.explain && c.Answer.Outcome == policy.Allowed {
		delivered, err := desk.Ask(cmd.Context(), c.Documents, context, receive)
		if err != nil {
			return &exitError{exitInvalid, err}
		}
		if delivered.Outcome != policy.Allowed {
			c.Notes = append(c.Notes, explain.Silent(receive))
		}
	}
	if err := e.print(answers{cmd.OutOrStdout()}, c, opts); err != nil {
		return err
	}
	if c.Answer.Outcome != policy.Allowed {
		return &exitError{exitFailed, errSaid}
	}
	return nil
}

// complete fills in what follows from other flags, and finds what is missing.
func (e *policyEval) complete(opts *policy.Options) error {
	if len(e.files) == 0 && e.folder == "" {
		e.folder, e.things = opts.Policies, cmp.Or(e.things, opts.Things)
	}
	q := &e.question
	connect := strings.EqualFold(q.Action, "iot:Connect")
	for flag, value := range map[string]string{"--action": q.Action, "--resource": q.Resource, "--client-id": e.client.ID, "--will-topic": e.will, "--topic": e.topic, "--user": e.client.User, "--listener": e.client.Listener} {
		if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return invalidf("%s %q has bytes that are no text; write it as plain UTF-8, without control characters", flag, value)
		}
	}
	switch {
	case len(e.files) == 0 && e.folder == "":
		return invalidf("no policies are named; add --policies DIR, --policy FILE or --config FILE")
	case len(e.files) > 0 && e.folder != "":
		return invalidf("--policy and --policies exclude each other; name the one or the other")
	case len(e.files) > 0 && e.things != "":
		return invalidf("--things needs the folder of the policies that it attaches; add --policies DIR in place of --policy")
	case q.Action == "":
		return invalidf("there is no --action; write one such as --action iot:Publish")
	case e.client.ID == "" && e.context.Protocol != "http":
		return invalidf("there is no --client-id; write the id that the client connects with")
	case (e.persist || e.will != "") && !connect:
		return invalidf("--persistent and --will-topic belong to iot:Connect; take them out, or ask about iot:Connect")
	case e.topic != "" && q.Action != string(bridge.ActionSendDirect):
		return invalidf("--topic belongs to iot:SendDirectMessage; ask about a publish by --resource topic/%s", e.topic)
	case q.Share != "" && !strings.EqualFold(q.Action, "iot:Receive"):
		return invalidf("--share belongs to iot:Receive; ask about a subscription by --resource 'topicfilter/$share/%s/…'", q.Share)
	case q.Resource == "" && connect:
		q.Resource = "client/" + e.client.ID
	case q.Resource == "":
		return invalidf("there is no --resource; write one such as --resource topic/a/b")
	}
	if e.persist {
		q.ConnectAttributes = append(q.ConnectAttributes, "PersistentConnect")
	}
	if e.topic != "" {
		q.Topic = &e.topic
	}
	if e.will != "" {
		q.ConnectAttributes = append(q.ConnectAttributes, "LastWill")
		q.LastWillTopic = &e.will
	}
	if ip := e.context.SourceIP; ip != "" {
		if _, err := netip.ParseAddr(ip); err != nil {
			return invalidf("--source-ip %q is no address; write one such as 10.1.2.3", ip)
		}
	}
	if at := e.context.CurrentTime; at != "" {
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			return invalidf("--time %q is no time; write one such as 2026-06-01T12:00:00Z", at)
		}
	}
	return nil
}

// open reads documents and registry.
func (e *policyEval) open() (*policytest.Site, error) {
	paths := e.files
	if e.folder != "" {
		paths = []string{filepath.Clean(e.folder)}
	}
	return policytest.OpenSite(paths, e.things)
}

// stand finds what applies to the client, and puts in what flags say beside.
func (e *policyEval) stand(site *policytest.Site) ([]policytest.Source, policy.Context, error) {
	e.client.Policies = e.attach
	sources, c, err := site.Stand(e.client)
	if err != nil {
		return nil, c, err
	}
	flags := e.context
	c.ThingType = cmp.Or(flags.ThingType, c.ThingType)
	c.SourceIP, c.CurrentTime, c.Protocol = flags.SourceIP, flags.CurrentTime, flags.Protocol
	c.DomainName, c.SourceVPCE = flags.DomainName, flags.SourceVPCE
	c.ThingExclusive = c.ThingExclusive || flags.ThingExclusive
	c.ThingAttached = c.ThingAttached && !e.detached
	if len(e.attrs) > 0 {
		attributes := map[string]string{}
		for name, value := range c.ThingAttributes {
			attributes[name] = value
		}
		for name, value := range e.attrs {
			attributes[name] = value
		}
		c.ThingAttributes = attributes
	}
	if c.ThingName == "" && (c.ThingType != "" || len(c.ThingAttributes) > 0 || c.ThingExclusive || e.detached) {
		return nil, c, fmt.Errorf("this connection has no thing, which --thing-type, --attribute, --exclusive or --not-attached could be about; add --thing")
	}
	return sources, c, nil
}

func (e *policyEval) print(w io.Writer, c explain.Case, opts policy.Options) error {
	switch {
	case e.json:
		return printIndented(w, authResult(c, opts, e.explain))
	case e.explain:
		return explain.Write(w, c)
	}
	_, err := fmt.Fprintln(w, explain.Headline(c))
	return err
}
