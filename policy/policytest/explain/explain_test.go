package explain

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/policy"
)

// rules are compiled once for all tests.
var rules = sync.OnceValues(func() (*policy.Desk, error) { return policy.NewDesk(policy.Options{}) })

// document is a policy of statements in short: "Allow iot:Publish topic/a,
// topic/b {conditions}".
func document(statements ...string) policy.Document {
	var out []string
	for _, s := range statements {
		s, condition, conditional := strings.Cut(s, " {")
		words := strings.SplitN(s, " ", 3)
		var actions, resources []string
		for a := range strings.SplitSeq(words[1], ",") {
			actions = append(actions, fmt.Sprintf("%q", a))
		}
		for r := range strings.SplitSeq(words[2], ", ") {
			if !strings.HasPrefix(r, "arn:") {
				r = "arn:aws:iot:us-east-1:123456789012:" + r
			}
			resources = append(resources, fmt.Sprintf("%q", r))
		}
		text := fmt.Sprintf(`{"Effect":%q,"Action":[%s],"Resource":[%s]`, words[0], strings.Join(actions, ","), strings.Join(resources, ","))
		if conditional {
			text += `,"Condition":{` + condition
		}
		out = append(out, text+"}")
	}
	return policy.Document{Name: "p", Text: []byte(`{"Version":"2012-10-17","Statement":[` + strings.Join(out, ",\n") + `]}`)}
}

func ask(t *testing.T, docs []policy.Document, c policy.Context, q policy.Question) Case {
	t.Helper()
	desk, err := rules()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := desk.Ask(t.Context(), docs, c, q)
	if err != nil {
		t.Fatal(err)
	}
	return Case{Documents: docs, Context: c, Question: q, Answer: answer}
}

// TestHints recognises the usual confusions (§5, §7, §8, §10, L01–L08, L24).
func TestHints(t *testing.T) {
	press := policy.Context{ClientID: "press-1", ThingName: "press-1", ThingAttached: true}
	old := document("Allow iot:Publish topic/${iot:ClientId}/x")
	old.Text = bytes.Replace(old.Text, []byte("2012-10-17"), []byte("2008-10-17"), 1)
	group := document("Allow iot:Publish topic/a")
	group.Target = policy.TargetThingGroup
	for name, c := range map[string]struct {
		docs    []policy.Document
		context policy.Context
		ask     string
		want    string // "" is no hint
	}{
		"plus in a policy":          {[]policy.Document{document("Allow iot:Publish topic/dt/+/temp")}, press, "iot:Publish topic/dt/x/temp", "+ and # are ordinary characters, which fit only themselves: to let topic/dt/x/temp through write topic/dt/*/temp."},
		"hash in a policy":          {[]policy.Document{document("Allow iot:Subscribe topicfilter/dt/#")}, press, "iot:Subscribe topicfilter/dt/a/b", "write topicfilter/dt/*."},
		"plus asked and granted":    {[]policy.Document{document("Allow iot:Subscribe topicfilter/dt/+")}, press, "iot:Subscribe topicfilter/dt/+", ""},
		"topic for topicfilter":     {[]policy.Document{document("Allow iot:Subscribe topic/dt/*")}, press, "iot:Subscribe topicfilter/dt/a", "iot:Subscribe is asked on topicfilter/…: write topicfilter/dt/*."},
		"topicfilter for topic":     {[]policy.Document{document("Allow iot:Publish topicfilter/dt/#")}, press, "iot:Publish topic/dt/a", "iot:Publish is asked on topic/…: write topic/dt/*."},
		"no Receive":                {[]policy.Document{document("Allow iot:Subscribe topicfilter/dt/*")}, press, "iot:Receive topic/dt/a", "nothing is delivered without iot:Receive: allow it on topic/dt/*."},
		"shared":                    {[]policy.Document{document("Allow iot:Subscribe topicfilter/dt/*")}, press, "iot:Subscribe topicfilter/$share/g/dt/a", "add topicfilter/$share/g/dt/*."},
		"wildcard asked":            {[]policy.Document{document("Allow iot:Subscribe topicfilter/dt/a")}, press, "iot:Subscribe topicfilter/dt/#", "grant topicfilter/dt/#, or have the client subscribe to less"},
		"another region":            {[]policy.Document{document("Allow iot:Publish arn:aws:iot:eu-west-1:123456789012:topic/a")}, press, "iot:Publish arn:aws:iot:us-east-1:123456789012:topic/a", "region, account or partition are others than those of arn:aws:iot:us-east-1:123456789012"},
		"case":                      {[]policy.Document{document("Allow iot:Publish topic/Plant/*")}, press, "iot:Publish topic/plant/a", "differs in the case of letters"},
		"leading slash":             {[]policy.Document{document("Allow iot:Publish topic/a/b")}, press, "iot:Publish topic//a/b", "differs by the slash at the front"},
		"parent of a star":          {[]policy.Document{document("Allow iot:Publish topic/a/*")}, press, "iot:Publish topic/a", "needs something behind the last slash, and topic/a ends before it: add topic/a."},
		"retained":                  {[]policy.Document{document("Allow iot:Publish topic/a")}, press, "iot:RetainPublish topic/a", "needs iot:RetainPublish on its topic in addition"},
		"PublishRetain":             {[]policy.Document{document("Allow iot:PublishRetain topic/a")}, press, "iot:RetainPublish topic/a", "the action is called iot:RetainPublish"},
		"no policy":                 {nil, press, "iot:Publish topic/a", "No policy is attached to this client"},
		"no thing":                  {[]policy.Document{document("Allow iot:Publish topic/${iot:Connection.Thing.ThingName}")}, policy.Context{ClientID: "x"}, "iot:Publish topic/x", `There is no thing for this connection: its client id "x" must be the name of a thing`},
		"not attached":              {[]policy.Document{document("Allow iot:Publish topic/${iot:Connection.Thing.ThingName}")}, policy.Context{ClientID: "x", ThingName: "x"}, "iot:Publish topic/x", "The thing x is not attached to the certificate"},
		"another id":                {[]policy.Document{document("Allow iot:Publish topic/${iot:Connection.Thing.ThingName}")}, policy.Context{ClientID: "y", ThingName: "x", ThingAttached: true}, "iot:Publish topic/x", `The client id "y" is not the name of the thing x`},
		"http":                      {[]policy.Document{document("Allow iot:Publish topic/${iot:Connection.Thing.ThingName}")}, policy.Context{Protocol: "http"}, "iot:Publish topic/x", "Over HTTP there is neither a client id nor a thing."},
		"no attribute":              {[]policy.Document{document("Allow iot:Publish topic/${iot:Connection.Thing.Attributes[Line]}")}, press, "iot:Publish topic/x", "the thing press-1 has no attribute of that name"},
		"IsAttached":                {[]policy.Document{document(`Allow iot:Publish topic/a {"Bool":{"iot:Connection.Thing.IsAttached":"true"}}`)}, policy.Context{ClientID: "x", ThingName: "x"}, "iot:Publish topic/a", "The thing x is not attached"},
		"no certificate":            {[]policy.Document{document("Allow iot:Publish topic/${iot:CertificateId}")}, press, "iot:Publish topic/x", "the client presents no certificate here"},
		"no name in it":             {[]policy.Document{document("Allow iot:Publish topic/${iot:Certificate.Subject.CommonName}")}, policy.Context{ClientID: "x", Certificate: &policy.CertificateContext{ID: "i"}}, "iot:Publish topic/x", "the certificate has no such name"},
		"iot:Thing":                 {[]policy.Document{document("Allow iot:Publish topic/${iot:Thing.ThingName}")}, press, "iot:Publish topic/press-1", "write ${iot:Connection.Thing.ThingName}"},
		"old version":               {[]policy.Document{old}, press, "iot:Publish topic/press-1/x", "without it ${…} is plain text"},
		"group, another id":         {[]policy.Document{group}, policy.Context{ClientID: "y", ThingName: "x", ThingAttached: true}, "iot:Publish topic/a", `group policies apply only to the client whose id is the thing's name: the client id is "y", the thing "x"`},
		"persistent":                {[]policy.Document{document(`Allow iot:Connect client/press-1 {"ForAllValues:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}`)}, press, "iot:Connect client/press-1 PersistentConnect", "connects with PersistentConnect, and Statement[0] of policy p lists LastWill"},
		"will wanted":               {[]policy.Document{document(`Allow iot:Connect client/press-1 {"ArnEquals":{"iot:LastWillTopic":"arn:aws:iot:us-east-1:123456789012:topic/w"}}`)}, press, "iot:Connect client/press-1", "wants a will, and the client connects without one"},
		"a Deny that is too narrow": {[]policy.Document{document("Allow iot:Subscribe topicfilter/*", "Deny iot:Subscribe topicfilter/a/secret/*")}, press, "iot:Subscribe topicfilter/a/#", "does not keep a/# out: a filter is compared as text. To keep the messages back deny iot:Receive on topic/a/secret/*."},
		"a Deny without $share":     {[]policy.Document{document("Allow iot:Subscribe topicfilter/*", "Deny iot:Subscribe topicfilter/secret/*")}, press, "iot:Subscribe topicfilter/$share/g/secret/x", "deny topicfilter/$share/*/secret/* too"},
		"a Deny of something else":  {[]policy.Document{document("Allow iot:Subscribe topicfilter/*", "Deny iot:Subscribe topicfilter/b/*")}, press, "iot:Subscribe topicfilter/a/#", ""},
		"nothing alike":             {[]policy.Document{document("Allow iot:Publish topic/a")}, press, "iot:Publish topic/b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			words := strings.Split(c.ask, " ")
			q := policy.Question{Action: words[0], Resource: words[1], ConnectAttributes: words[2:]}
			hints := Hints(ask(t, c.docs, c.context, q))
			if c.want == "" && len(hints) > 0 || c.want != "" && !slices.ContainsFunc(hints, func(h string) bool { return strings.Contains(h, c.want) }) {
				t.Errorf("hints\n\t%s\nwant\n\t%s", strings.Join(hints, "\n\t"), c.want)
			}
		})
	}
}

// TestNearest picks the Allow that came closest.
func TestNearest(t *testing.T) {
	docs := []policy.Document{document(
		"Deny iot:Publish topic/x",
		"Allow iot:Subscribe topicfilter/dt/press-1/temp",
		"Allow iot:Publish topic/b",
		"Allow iot:Publish topic/dt/press-2/*, topic/dt/press-1/hum",
		`Allow iot:Publish topic/dt/* {"Bool":{"iot:Connection.Thing.IsAttached":"true"}}`,
	)}
	for resource, want := range map[string]int{"topic/dt/press-1/temp": 4, "topic/bb": 2, "topic/dx": 3} {
		c := ask(t, docs, policy.Context{ClientID: "c"}, policy.Question{Action: "iot:Publish", Resource: resource})
		if near := Nearest(c); near == nil || near.Index != want {
			t.Errorf("%s: nearest %v, want %d", resource, near, want)
		}
	}
	c := ask(t, docs, policy.Context{ClientID: "c"}, policy.Question{Action: "iot:Receive", Resource: "topic/z"})
	if near := Nearest(c); near != nil {
		t.Errorf("nearest %v, though none is about it", near.StatementRef)
	}
}

// TestWords says the whole of each outcome, and where it is written.
func TestWords(t *testing.T) {
	docs := []policy.Document{document(
		"Allow iot:Publish topic/${iot:ClientId}/*",
		"Deny iot:Publish topic/c/secret",
		`Allow iot:Connect client/c {"StringEquals":{"iot:CertificateId":"i"}}`,
	)}
	place := func(string) (string, int) { return "p.json", 1 }
	for _, w := range []struct {
		action, resource string
		want             []string
	}{
		{"iot:Publish", "topic/c/x", []string{
			"ALLOWED iot:Publish on topic/c/x: by Statement[0] of policy p\n  by client \"c\", no thing\n\nStatement[0] of policy p, p.json:1\n",
			"  resource   yes  arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}/*\n                   here topic/c/*\n",
			"Variables\n  iot:ClientId = \"c\"\n",
		}},
		{"iot:Publish", "topic/c/secret", []string{
			"EXPLICIT_DENY iot:Publish on topic/c/secret: by Statement[1] of policy p\n",
			"A Deny wins over every Allow; without it Statement[0] of policy p would allow this.\n\nStatement[1] of policy p, p.json:2\n",
		}},
		{"iot:Connect", "client/c", []string{
			"IMPLICIT_DENY iot:Connect on client/c: none of 3 statements allows it\n",
			"Nearest: Statement[2] of policy p, p.json:3\n",
			"  condition  no   StringEquals iot:CertificateId \"i\"\n                   the key has no value here\n",
			"  It does not apply: StringEquals on iot:CertificateId wants \"i\"; the key has\n  no value here.\n",
			"Without a value: iot:CertificateId\n",
		}},
		{"iot:Receive", "topic/\x1b[31m", []string{"No Allow is about iot:Receive, nor about topic/\uFFFD[31m.\n"}},
	} {
		c := ask(t, docs, policy.Context{ClientID: "c"}, policy.Question{Action: w.action, Resource: w.resource})
		c.Place = place
		var out bytes.Buffer
		if err := Write(&out, c); err != nil {
			t.Fatal(err)
		}
		for _, want := range w.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("said\n%s\nwithout\n%s", out.String(), want)
			}
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("an escape reaches the terminal: %q", out.String())
		}
	}
}

// TestPatterns compares as policies and as MQTT do (§5).
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		glob, filter  bool
	}{
		{"a/*", "a/b/c", true, false},
		{"a/?", "a/é", true, false},
		{"a/+", "a/b", false, true},
		{"a/+/c", "a/b/d", false, false},
		{"a/#", "a/b/c", false, true},
		{"a/#", "a", false, false},
		{"#", "a/b", false, true},
		{"", "", true, true},
		{"**a*", "ba", true, false},
		{"*a*b", "xaxbxa", false, false},
	} {
		if got := glob(c.pattern, c.text); got != c.glob {
			t.Errorf("glob %s on %s: %v", c.pattern, c.text, got)
		}
		if got := filter(c.pattern, c.text); got != c.filter {
			t.Errorf("filter %s on %s: %v", c.pattern, c.text, got)
		}
	}
}

// TestDelivery asks for what a subscription would deliver.
func TestDelivery(t *testing.T) {
	for _, c := range []struct{ resource, want, share string }{
		{"topicfilter/a/+/#", "topic/a/x/x", ""},
		{"topicfilter/$share/g/a", "topic/a", "g"},
		{"arn:aws:iot:us-east-1:1:topicfilter/a", "arn:aws:iot:us-east-1:1:topic/a", ""},
	} {
		q, ok := Delivery(policy.Question{Action: "iot:Subscribe", Resource: c.resource})
		if !ok || q.Action != "iot:Receive" || q.Resource != c.want || q.Share != c.share {
			t.Errorf("%s: %+v", c.resource, q)
		}
	}
	if _, ok := Delivery(policy.Question{Action: "iot:Publish", Resource: "topic/a"}); ok {
		t.Error("a publish is no subscription")
	}
}
