package policytest

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/policy/strictyaml"
)

// saying is one test of a YAML file while it is read.
type saying struct {
	*suite
	node      *yaml.Node
	where     string
	fields    map[string]*yaml.Node
	client    string
	with      connecting
	documents []Source
	context   policy.Context
	switches  map[string]string
}

// test reads one strictyaml.Entry of the list of tests, which makes a case of each thing
// that the client may or may not do.
func (s *suite) test(n *yaml.Node, where string) {
	before := len(s.faults)
	t := &saying{suite: s, node: n, where: where, fields: s.Record(n, where, testKeys...)}
	if n.Kind != yaml.MappingNode {
		if strictyaml.IsNull(n) {
			s.Fault(n, where, "the test is empty", "write client: and may:, or take it out")
		}
		return
	}
	if t.fields["client"] == nil && t.get("protocol") != "http" {
		s.Fault(n, where, "there is no client", "add client: with the client id")
	}
	t.client = t.get("client")
	t.switches = maps.Clone(s.switches)
	maps.Copy(t.switches, s.Values(t.fields["switches"], where+".switches"))
	t.connect()
	if len(s.faults) == before {
		t.stand()
		t.surroundings()
	}
	if len(s.faults) == before {
		t.cases()
	}
}

func (t *saying) get(key string) string { return t.Text(t.fields[key], t.where+"."+key) }

func (t *saying) wrongAt(key, text, remedy string) {
	t.Fault(t.fields[key], t.where+"."+key, text, remedy)
}

func (t *saying) connect() {
	where := t.where + ".with"
	f := t.Record(t.fields["with"], where, withKeys...)
	t.with = connecting{
		persistent: t.Flag(f["persistent"], where+".persistent", false),
		will:       t.Text(f["will"], where+".will"),
		hasWill:    f["will"] != nil,
		retain:     t.Flag(f["will_retain"], where+".will_retain", false),
		fire:       t.switches["will_check"] == "fire",
	}
	if t.with.retain && !t.with.hasWill {
		t.Fault(f["will_retain"], where+".will_retain", "there is no will to be retained", "add will: with its topic")
	}
}

// stand finds the documents of the client and what is known of it.
func (t *saying) stand() {
	own := Client{ID: t.client, User: t.get("user"), Thing: t.get("thing"), Listener: t.get("listener")}
	own.Policies = t.policyNames(t.fields["policies"], t.where+".policies")
	own.Groups = t.policyNames(t.fields["group_policies"], t.where+".group_policies")
	cert := t.certificate(t.fields["certificate"], t.where+".certificate")
	known := t.thingOf(own.Thing)
	if known != nil {
		own.Thing = ""
		if own.Policies == nil && own.Groups == nil {
			own.Policies, own.Groups = known.policies, known.groups
		}
	}
	if own.Policies == nil && own.Groups == nil && (t.site.engine == nil || len(t.things) > 0) {
		own.Policies = t.attach
	}
	if t.site.engine != nil && own.Policies == nil && own.Groups == nil {
		if n := t.fields["certificate"]; n != nil && n.Kind == yaml.ScalarNode {
			if own.Certificate = n.Value; !certificateID.MatchString(n.Value) {
				own.Certificate = t.path(n.Value)
			}
		}
	}
	documents, context, err := t.site.Stand(own)
	if err != nil {
		t.wrong(err, t.node, "correct the test, or the registry")
		return
	}
	t.documents = documents
	if known != nil {
		user, listener := context.User, context.Listener
		context = known.context
		context.ClientID, context.User, context.Listener = t.client, user, listener
	}
	if cert != nil {
		context.Certificate = cert
	}
	t.context = context
}

// thingOf is the file's own thing of the client: the one that the test names,
// or the one named like the client.
func (t *saying) thingOf(name string) *thing {
	if name == "" {
		return t.things[t.client]
	}
	if known := t.things[name]; known != nil || len(t.things) == 0 {
		return known
	}
	t.wrongAt("thing", fmt.Sprintf("there is no thing %q", name), "add it under things, or correct the name")
	return nil
}

// surroundings are where and when the client connects.
func (t *saying) surroundings() {
	c := &t.context
	for _, set := range []struct {
		key    string
		target *string
	}{
		{"from", &c.SourceIP}, {"at", &c.CurrentTime}, {"protocol", &c.Protocol}, {"domain", &c.DomainName},
		{"vpc", &c.SourceVPC}, {"vpce", &c.SourceVPCE}, {"vpc_source_ip", &c.VPCSourceIP},
	} {
		if t.fields[set.key] != nil {
			*set.target = t.get(set.key)
		}
	}
	if c.SourceIP != "" && t.fields["from"] != nil {
		if _, err := netip.ParseAddr(c.SourceIP); err != nil {
			t.wrongAt("from", fmt.Sprintf("%q is no address", c.SourceIP), "write one such as 10.1.2.3")
		}
	}
	if c.CurrentTime != "" {
		if _, err := time.Parse(time.RFC3339, c.CurrentTime); err != nil {
			t.wrongAt("at", fmt.Sprintf("%q is no time", c.CurrentTime), "write one such as 2026-06-01T12:00:00Z")
		}
	}
	if c.Protocol != "" && c.Protocol != "mqtt" && c.Protocol != "http" {
		t.wrongAt("protocol", fmt.Sprintf("%q is no protocol", c.Protocol), "write mqtt or http")
	}
}

// cases makes the cases of what may, may not and is asked.
func (t *saying) cases() {
	before := len(t.suite.cases) + len(t.faults)
	for _, e := range t.Texts(t.fields["may"], t.where+".may") {
		t.one(e, "may "+e.Text, Allow)
	}
	for _, key := range []string{"may not", "may_not"} {
		for _, e := range t.Texts(t.fields[key], t.where+"."+key) {
			t.one(e, "may not "+e.Text, Deny)
		}
	}
	expect, ask := t.fields["expect"], t.fields["ask"]
	if expect != nil {
		want, ok := readWant(t.Text(expect, t.where+".expect"))
		if !ok {
			t.wrongAt("expect", fmt.Sprintf("%q cannot be expected", expect.Value), wantRemedy)
			return
		}
		if ask == nil && want == Invalid {
			t.one(strictyaml.Entry{Text: "connect", Node: expect, Where: t.where + ".expect"}, "is invalid_policy", want)
		}
		for _, e := range t.Texts(ask, t.where+".ask") {
			t.one(e, fmt.Sprintf("%s is %s", e.Text, want), want)
		}
	} else if ask != nil {
		t.wrongAt("ask", "there is no expect", "add expect: explicit_deny, or write may: or may not: in place of ask:")
	}
	if before == len(t.suite.cases)+len(t.faults) {
		t.Fault(t.node, t.where, "the test asks nothing", "add may: or \"may not\": with what the client does, such as publish a/b")
	}
}

func (t *saying) one(e strictyaml.Entry, id string, want Want) {
	questions, err := phrase(e.Text, t.client, t.with)
	if wrong, ok := err.(*phraseError); ok { //nolint:errorlint // phrase returns no other
		t.Fault(e.Node, e.Where, wrong.text, wrong.remedy)
		return
	}
	name := t.get("name")
	if name == "" {
		name = t.client
	}
	t.suite.cases = append(t.suite.cases, &Case{
		ID: name + "/" + id, Why: t.get("why"), File: t.file, Line: e.Node.Line, Skip: t.get("skip"),
		Documents: t.documents, Site: t.site.documents, Own: t.site.own, Context: t.context, Questions: questions,
		Want: want, Switches: t.switches, Gateway: t.gateway,
	})
}
