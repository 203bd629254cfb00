package policy

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// uncertain says for each case in which AWS is not known for certain what
// chooses the other reading, or why nothing does.
type uncertain struct {
	set    string // "switch=value": the switch, and the value with which the case ends otherwise
	expect string // how it ends then; empty: the same, because the switch matters to other requests only
	share  string // asked for a delivery through this share group
	reason string // instead of a switch: why there is none
}

const refusedOnPurpose = "refused in either reading of AWS that is safe: to take it could grant more than AWS does, and it is easily put right"

var uncertainCases = map[string]uncertain{
	"attr-100": {set: "connect_attributes_default=none", expect: "implicit_deny"},
	"attr-101": {set: "connect_attributes_default=none", expect: "implicit_deny"},
	"pub-008":  {set: "exclusive_thing=thing_name", expect: "implicit_deny"},
	"wc-017":   {set: "question_mark=byte", expect: "implicit_deny"},
	"wc-018":   {set: "question_mark=byte", expect: "implicit_deny"},
	"wc-019":   {set: "question_mark=byte", expect: "implicit_deny"},
	"pub-023":  {set: "thing_variables=both", expect: "allow"},
	"var-020":  {set: "client_id_wildcards=withheld"},
	"var-021":  {set: "client_id_wildcards=withheld", expect: "implicit_deny"},
	"var-022":  {set: "client_id_wildcards=withheld"},
	"var-033":  {set: "old_version=refuse", expect: "invalid_policy"},
	"var-034":  {set: "old_version=refuse", expect: "invalid_policy"},
	"var-035":  {set: "variable_defaults=unknown", expect: "implicit_deny"},
	"var-036":  {set: "variable_case=exact", expect: "implicit_deny"},
	"aud-021":  {reason: "the name of a resource begins behind its type and a slash; \":/thing/\" is no type that any action has"},
	"arn-012":  {set: "colon_wildcard=within", expect: "implicit_deny"},
	"arn-014":  {set: "region=", expect: "allow"}, // and account: empty fields of the gateway are not compared
	"arn-024":  {reason: "names are compared as they are sent, character by character (§5.5): MQTT has no other equality of topics"},
	"arn-030":  {reason: "no MQTT packet asks for iot:DeleteConnection; at the desk its resource is the client that is disconnected"},
	"cond-022": {set: "time_keys=unknown", expect: "implicit_deny"},
	"cond-023": {set: "time_keys=unknown"},
	"cond-029": {set: "empty_operator=ignore", expect: "allow"},
	"cond-030": {reason: "a Condition without operators has nothing that could fail"},
	"shr-005":  {set: "share_subscribe=filter", expect: "allow"},
	"shr-010":  {set: "share_receive=share", share: "g", expect: "allow"},
	"mal-014":  {reason: refusedOnPurpose},
	"mal-020":  {reason: refusedOnPurpose},
	"mal-021":  {reason: refusedOnPurpose},
	"mal-022":  {reason: refusedOnPurpose},
}

// gateway is g with the switch set.
func (u uncertain) gateway(t testing.TB, g gateway) gateway {
	t.Helper()
	name, value, _ := strings.Cut(u.set, "=")
	if name == "region" {
		g.region, g.account = "", ""
		return g
	}
	g.switches = &Switches{}
	if err := g.switches.Set(name, value); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestUncertainCases: each case of which AWS's answer is not known has a switch
// that does what it says, or an explanation. A new case without either fails.
func TestUncertainCases(t *testing.T) {
	rules := mustRules(t)
	docs, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for id := range uncertainCases {
		left[id] = true
	}
	for _, row := range readCases(t, "testdata/policy_uncertain.jsonl") {
		delete(left, row.ID)
		u, known := uncertainCases[row.ID]
		t.Run(row.ID, func(t *testing.T) {
			name, _, set := strings.Cut(u.set, "=")
			switch {
			case !known, !set && u.reason == "":
				t.Fatal("the case has neither a switch nor an explanation: add one to uncertainCases and to docs/policy.md")
			case !set:
				t.Log("no switch: ", u.reason)
				return
			case !strings.Contains(string(docs), "`"+name+"`"):
				t.Errorf("docs/policy.md does not name %s", name)
			}
			g := u.gateway(t, corpusGateway)
			want := u.expect
			if want == "" {
				want = row.Expect
			}
			t.Logf("switch: %s; the case ends in %s, with %s in %s", name, row.Expect, u.set, want)
			if got, detail := runCaseAt(t, rules, row, g, u.share); got != want {
				t.Errorf("with %s: %s, want %s\n%s", u.set, got, want, detail)
			}
		})
	}
	for id := range left {
		t.Errorf("there is no case %s any more", id)
	}
}

// Every switch is documented with all its values, and has its default first.
func TestSwitchesAreDocumented(t *testing.T) {
	docs, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults := DefaultOptions().Switches
	defaults.each(func(w Switch, value string) {
		row := regexp.MustCompile("(?m)^\\| `" + w.Name + "` \\|.*$").FindString(string(docs))
		if row == "" {
			t.Errorf("docs/policy.md has no row for %s", w.Name)
		}
		if value != w.Values[0] {
			t.Errorf("%s is %q by default, not %q", w.Name, value, w.Values[0])
		}
		for _, v := range w.Values {
			if !strings.Contains(row, "`"+v+"`") {
				t.Errorf("the row of %s does not name %s", w.Name, v)
			}
		}
		if w.Doc == "" || w.Name == "" {
			t.Errorf("%+v", w)
		}
	})
	if got := (Switches{}).changed(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if !reflect.DeepEqual(Switches{}.complete(), defaults) {
		t.Error("an empty switch is not its default")
	}
}

func TestSwitchesAreSetByName(t *testing.T) {
	var s Switches
	if err := s.Set("share_receive", "topic"); err != nil || s.ShareReceive != "topic" {
		t.Errorf("%+v %v", s, err)
	}
	for _, c := range []struct{ name, value, want string }{
		{"share_recieve", "topic", `there is no switch "share_recieve"; possible are connect_attributes_default, will_check`},
		{"share_receive", "both", `switch share_receive is not "both"; possible are either, topic, share`},
	} {
		if err := s.Set(c.name, c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v", err)
		}
	}
	problems := Options{Switches: Switches{TimeKeys: "sometimes"}}.Validate()
	if len(problems) != 1 || problems[0].Path != "time_keys" {
		t.Errorf("%+v", problems)
	}
}
