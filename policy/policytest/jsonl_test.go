package policytest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/policy"
)

const goodRow = `{"id":"a","policies":[{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"*"}]}],"context":{"client_id":"c"},"request":{"action":"iot:Publish","resource":"topic/a"},"expect":"allow"}`

// TestRowsThatAreNone names the place and the remedy of what is wrong (§15).
func TestRowsThatAreNone(t *testing.T) {
	row := func(old, replaced string) string {
		if !strings.Contains(goodRow, old) {
			t.Fatalf("the row has no %s", old)
		}
		return strings.Replace(goodRow, old, replaced, 1)
	}
	for name, c := range map[string]struct{ row, want string }{
		"no JSON":             {`{"id": `, `f.jsonl:1:7: not JSON: unexpected end of JSON input; write one whole JSON object a line`},
		"Latin-1":             {`{"id": "gr` + "\xfc" + `n"}`, "f.jsonl:1:11: the text is not valid UTF-8; save the file as UTF-8"},
		"UTF-16":              {"\xff\xfe{\x00", "f.jsonl:1:1: the text is not valid UTF-8; save the file as UTF-8"},
		"megabytes":           {`{"id": "` + strings.Repeat("x", 2<<20) + `"}`, "f.jsonl:1:1: the row has more than 1048576 bytes; write one case a line"},
		"two values":          {goodRow + " {}", "not JSON: invalid character '{' after top-level value"},
		"a list":              {`[1]`, "f.jsonl:1:1: a JSON object is needed here"},
		"no request":          {row(`"request"`, `"requests"`), `there is no "request"; add "request"`},
		"no expectation":      {row(`"expect"`, `"Expect"`), `there is no "expect"; write allow, deny`},
		"no policies":         {row(`"policies"`, `"policy"`), `there is no "policies"; add "policies"`},
		"unknown expectation": {row(`"expect":"allow"`, `"expect":"maybe"`), `expect: "maybe" cannot be expected; write allow`},
		"expect no string":    {row(`"expect":"allow"`, `"expect":true`), "expect: a string is needed here"},
		"key twice":           {row(`"expect"`, `"expect":"deny","expect"`), "expect: it is here twice; keep one"},
		"unknown context":     {row(`"client_id"`, `"clientid"`), "context.clientid: the key is not known; possible are client_id, thing_name"},
		"case of a key":       {row(`"client_id"`, `"Client_ID"`), "context.Client_ID: the key is not known"},
		"wrong type":          {row(`"client_id":"c"`, `"client_id":7`), "context.client_id: a JSON number is not possible here; write a string"},
		"attached no bool":    {row(`"client_id":"c"`, `"thing_attached":"yes"`), "context.thing_attached: a JSON string is not possible here; write a true or false"},
		"unknown certificate": {row(`"client_id":"c"`, `"certificate":{"cn":"x"}`), "context.certificate.cn: the key is not known; possible are id, serial"},
		"time":                {row(`"client_id":"c"`, `"current_time":"noon"`), `context.current_time: "noon" is no time; write it as 2026-06-01T12:00:00Z`},
		"target":              {row(`"client_id":"c"`, `"policy_targets":["group"]`), `"group" is no target; write certificate or thinggroup`},
		"too many targets":    {row(`"client_id":"c"`, `"policy_targets":["certificate","certificate"]`), "there are more targets than policies"},
		"no action":           {row(`"action":"iot:Publish",`, ``), `request: there is no "action"; write "action": "iot:Publish"`},
		"empty resource":      {row(`"topic/a"`, `""`), "request.resource: it is empty"},
		"unknown request":     {row(`"action"`, `"actoin"`), "request.actoin: the key is not known; possible are action, resource"},
		"attributes no list":  {row(`"resource"`, `"connect_attributes":"LastWill","resource"`), "request.connect_attributes: a JSON string is not possible here; write a list of strings"},
		"not UTF-8":           {row(`"a"`, "\"\xff\""), "the text is not valid UTF-8; save the file as UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			cases, faults := ReadJSONL("f.jsonl", []byte(c.row+"\n"+goodRow+"\n"))
			if !strings.Contains(faults.Error(), c.want) {
				t.Errorf("said\n\t%s\nwant\n\t%s", faults.Error(), c.want)
			}
			for _, f := range faults {
				if f.File != "f.jsonl" || f.Line != 1 || f.Column < 1 || f.Remedy == "" {
					t.Errorf("fault without place or remedy: %+v", f)
				}
			}
			if len(cases) != 1 {
				t.Errorf("the good row beside it makes %d cases", len(cases))
			}
		})
	}
}

// TestRowsThatAreSome reads what a row may be besides the corpus's (§15).
func TestRowsThatAreSome(t *testing.T) {
	text := "\uFEFF" + goodRow + "\r\n\n" + goodRow + "\n" +
		strings.NewReplacer(`"id":"a",`, ``, `"context":{"client_id":"c"},`, ``, `"allow"`, `"ALLOWED"`, `[{"Ver`, `["not JSON",7,{"Ver`).Replace(goodRow)
	cases, faults := ReadJSONL("f.jsonl", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for i, want := range []struct {
		id   string
		line int
	}{{"a", 1}, {"a#01", 3}, {"line-4", 4}} {
		if c := cases[i]; c.ID != want.id || c.Line != want.line || c.Want != Allow {
			t.Errorf("case %d is %s of line %d, expects %s", i, c.ID, c.Line, c.Want)
		}
	}
	if d := cases[2].Documents; len(d) != 3 || string(d[0].Text) != "not JSON" || string(d[1].Text) != "7" || d[2].Name != "policies[2]" {
		t.Errorf("documents %v", d)
	}
}

// TestContextWhole reads every key of a context.
func TestContextWhole(t *testing.T) {
	row := strings.Replace(goodRow, `"context":{"client_id":"c"}`, `"context":{"client_id":"c","thing_name":"t","thing_attached":true,"thing_exclusive":true,"thing_type":"y","thing_attributes":{"a":"b"},`+
		`"certificate":{"id":"i","serial":"s","subject":{"CommonName":["n"]},"issuer":{}},"source_ip":"10.0.0.1","source_vpc":"v","source_vpce":"e","vpc_source_ip":"10.0.0.2","domain_name":"d",`+
		`"current_time":"2026-06-01T12:00:00Z","protocol":"mqtt","user":"u","listener":"l","thing_groups":["g"],"policy_targets":["thinggroup"]}`, 1)
	cases, faults := ReadJSONL("f.jsonl", []byte(row))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	c := cases[0].Context
	if c.ThingName != "t" || !c.ThingAttached || !c.ThingExclusive || c.ThingAttributes["a"] != "b" || c.Certificate.Subject["CommonName"][0] != "n" || c.VPCSourceIP != "10.0.0.2" || c.User+c.Listener+c.ThingGroups[0] != "ulg" {
		t.Errorf("context %+v", c)
	}
	if cases[0].Documents[0].Target != policy.TargetThingGroup {
		t.Errorf("target %q", cases[0].Documents[0].Target)
	}
}

func FuzzJSONL(f *testing.F) {
	f.Add([]byte(goodRow))
	f.Add([]byte(`{"policies":[null],"context":{"certificate":null,"policy_targets":[]},"request":{"action":"a","resource":"b","last_will_topic":null},"expect":"deny"}`))
	f.Add([]byte("{\n[\n\"\n"))
	f.Add([]byte(`{"policies":{},"request":[],"expect":{},"context":7}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		cases, faults := ReadJSONL("f.jsonl", text)
		for _, x := range faults {
			if x.Line < 1 || x.Column < 1 || x.Remedy == "" || strings.Contains(x.Error(), "\n") {
				t.Errorf("fault %+v", x)
			}
		}
		rows := 0
		for row := range bytes.Lines(bytes.TrimPrefix(text, []byte("\uFEFF"))) {
			if len(bytes.TrimSpace(bytes.TrimRight(row, "\r\n"))) > 0 {
				rows++
			}
		}
		if len(cases)+brokenRows(faultsOf(faults)) != rows {
			t.Errorf("%d rows make %d cases and %d faults", rows, len(cases), len(faults))
		}
		for _, c := range cases {
			if len(c.Questions) != 1 || c.Want == "" || c.ID == "" && !bytes.Contains(text, []byte(`id`)) {
				t.Errorf("case %+v", c)
			}
		}
	})
}

func faultsOf(f policy.Faults) error {
	if len(f) == 0 {
		return nil
	}
	return f
}
