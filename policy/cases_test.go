package policy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// caseRow is one line of the corpus.
type caseRow struct {
	ID       string
	Policies []json.RawMessage
	Context  struct {
		ClientID        string            `json:"client_id"`
		ThingName       string            `json:"thing_name"`
		ThingAttached   bool              `json:"thing_attached"`
		ThingExclusive  bool              `json:"thing_exclusive"`
		ThingType       string            `json:"thing_type"`
		ThingAttributes map[string]string `json:"thing_attributes"`
		Certificate     *struct {
			ID, Serial      string
			Subject, Issuer map[string][]string
		}
		SourceIP      string   `json:"source_ip"`
		SourceVpc     string   `json:"source_vpc"`
		VpcSourceIP   string   `json:"vpc_source_ip"`
		SourceVpce    string   `json:"source_vpce"`
		DomainName    string   `json:"domain_name"`
		CurrentTime   string   `json:"current_time"`
		Protocol      string   `json:"protocol"`
		PolicyTargets []string `json:"policy_targets"`
	}
	Request struct {
		Action, Resource  string
		ConnectAttributes []string `json:"connect_attributes"`
		LastWillTopic     *string  `json:"last_will_topic"`
	}
	Expect, Why string

	raw struct{ Context json.RawMessage }
}

var corpusGateway = gateway{partition: "aws", region: "us-east-1", account: "123456789012"}

// session is the row's context; a thing that is not named is no thing.
func (c *caseRow) session() session {
	x := c.Context
	s := session{
		clientID: x.ClientID, http: x.Protocol == "http",
		thing: x.ThingName, thingType: x.ThingType, attribute: x.ThingAttributes,
		attached: x.ThingAttached, exclusive: x.ThingExclusive,
		sourceIP: x.SourceIP, domain: x.DomainName, vpc: x.SourceVpc, vpce: x.SourceVpce, vpcSourceIP: x.VpcSourceIP,
	}
	if cert := x.Certificate; cert != nil {
		s.certificate = &certificateFacts{cert.ID, cert.Serial, cert.Subject, cert.Issuer}
	}
	return s
}

func (c *caseRow) request(t testing.TB, g gateway) *request {
	r := &request{action: c.Request.Action, attributes: c.Request.ConnectAttributes, source: c.Context.SourceIP, clock: at(time.Unix(1780000000, 0))}
	if c.Request.LastWillTopic != nil {
		r.hasWill, r.willTopic = true, *c.Request.LastWillTopic
	}
	if c.Context.CurrentTime != "" {
		now, err := time.Parse(time.RFC3339, c.Context.CurrentTime)
		if err != nil {
			t.Fatal(err)
		}
		r.clock = at(now)
	}
	if c.Request.Resource == "*" {
		r.kind = "*"
		return r
	}
	name, ok := strings.CutPrefix(g.own(c.Request.Resource, false), g.prefix())
	if !ok {
		t.Fatalf("resource %s is not of the corpus's gateway", c.Request.Resource)
	}
	r.name = name
	if kind := kindOf(bridge.Action(r.action)); strings.HasPrefix(name, kind) {
		r.kind, r.name = kind, strings.TrimPrefix(name, kind)
	}
	return r
}

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

// gateway is where the row's resource is: in one of AWS's partitions.
func (c *caseRow) gateway(g gateway) gateway {
	if fields := strings.SplitN(c.Request.Resource, ":", 6); len(fields) == 6 {
		g.partition = fields[1]
	}
	return g
}

// documents parses the policies that apply: those of thing groups only when
// the client id is the thing's name.
func (c *caseRow) documents(g gateway) ([]*document, Faults) {
	var out []*document
	var faults Faults
	for i, raw := range c.Policies {
		if raw[0] == '"' {
			var text string
			_ = json.Unmarshal(raw, &text)
			raw = json.RawMessage(text)
		}
		name := "p" + string(rune('0'+i))
		d, fs := parseDocument(name, name+".json", raw, g)
		faults = append(faults, fs...)
		targets := c.Context.PolicyTargets
		if i < len(targets) && targets[i] == "thinggroup" && (c.Context.ClientID != c.Context.ThingName || !c.Context.ThingAttached || c.Context.Protocol == "http") {
			continue
		}
		out = append(out, d)
	}
	return out, faults
}

func readCases(t testing.TB, path string) []*caseRow {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows []*caseRow
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		row := &caseRow{}
		if err := json.Unmarshal(lines.Bytes(), row); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := json.Unmarshal(lines.Bytes(), &row.raw); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		rows = append(rows, row)
	}
	return rows
}

// sampled are all rows, and every tenth under the race detector: it makes Rego slow
// and is there for what the goroutines share. make test runs all of them without it.
func sampled(rows []*caseRow) (out []*caseRow) {
	if !raced {
		return rows
	}
	for i := 0; i < len(rows); i += 10 {
		out = append(out, rows[i])
	}
	return out
}

// TestPolicyCases runs the corpus through both speeds.
func TestPolicyCases(t *testing.T) {
	paths := []string{"testdata/policy.jsonl", "testdata/policy_uncertain.jsonl", "testdata/own.jsonl", "testdata/blind.jsonl"}
	if path := os.Getenv("EBBGATE_POLICY_CASES"); path != "" {
		paths = []string{path}
	}
	later := laterRows(t)
	rules := mustRules(t)
	for _, path := range paths {
		rows := readCases(t, path)
		if len(paths) > 1 {
			rows = sampled(rows)
		}
		for _, row := range rows {
			t.Run(row.ID, func(t *testing.T) {
				got, detail := runCase(t, rules, row)
				if slices.Contains(later, row.ID) {
					if got == row.Expect {
						t.Errorf("passes already: take it out of testdata/later.txt")
					} else if got == "allow" {
						t.Errorf("waits for a later feature and must be refused, but is allowed")
					}
					return
				}
				if got != row.Expect {
					t.Errorf("%s, want %s: %s\n%s", got, row.Expect, row.Why, detail)
				}
			})
		}
	}
}

// laterRows are the ids, one a line with the feature that each waits for.
func laterRows(t *testing.T) []string {
	text, err := os.ReadFile("testdata/later.txt")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range strings.Lines(string(text)) {
		if id, _, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			ids = append(ids, id)
		}
	}
	return ids
}

func runCase(t *testing.T, rules *plainRules, row *caseRow) (outcome, detail string) {
	return runCaseAt(t, rules, row, corpusGateway, "")
}

// runCaseAt runs a case at a gateway, and asks for a delivery through a share
// group if one is named.
func runCaseAt(t *testing.T, rules *plainRules, row *caseRow, g gateway, share string) (outcome, detail string) {
	g = row.gateway(g)
	documents, faults := row.documents(g)
	if len(faults) > 0 {
		return "invalid_policy", faults.Error()
	}
	r := row.request(t, g)
	r.share = share
	fast, reason := fastDecision(t, rules, documents, g, row.session(), r)
	plain := plainDecision(t, rules, documents, g, row.session(), r)
	if fast != plain {
		t.Errorf("compiled says %v, Rego says %v", fast, plain)
	}
	return fast.outcome, reason
}
