package lint

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// marks are where in testdata/rules/<rule>.json the rule's finding begins: at
// the n-th place of a text.
var marks = map[string]struct {
	text string
	n    int
}{
	"L01": {text: `"arn:aws:iot:us-east-1:123456789012:topicfilter/some/+/topic"`},
	"L02": {text: `"arn:aws:iot:us-east-1:123456789012:topicfilter/building/control_room/#"`},
	"L03": {text: `"arn:aws:iot:us-east-1:123456789012:topicfilter/building/control_room/*"`},
	"L04": {text: `"arn:aws:iot:us-east-1:123456789012:topic/dt/b"`},
	"L05": {text: `"iot:PublishRetain"`},
	"L06": {text: `"arn:aws:iot:us-east-1:123456789012:topicfilter/cmd/`},
	"L07": {text: `"arn:aws:iot:us-east-1:123456789012:topic/state/`},
	"L08": {text: `"arn:aws:iot:us-east-1:123456789012:topic/dt/${iot:Thing.ThingName}"`},
	"L09": {text: `"2008-10-17"`},
	"L10": {text: `"arn:aws:iot:us-east-1:123456789012:client/${iot:ClientId}"`},
	"L11": {text: `"arn:aws:iot:us-east-1:123456789012:topicfilter/cmd/${iot:ClientId}/start"`},
	"L12": {text: `"arn:aws:iot:us-east-1:123456789012:topic/dt/${iot:Connection.Thing.ThingName}/secret"`},
	"L13": {text: `"NotResource"`},
	"L14": {text: `"arn:aws:iot:us-east-1:123456789012:topic/$aws/things/*/shadow/update"`},
	"L15": {text: `"ForAllValues:StringEquals"`, n: 1},
	"L16": {text: `"iot:ConnectAttributes"`},
	"L17": {text: `"iot:Connect"`},
	"L18": {text: `"StringNotEquals"`},
	"L19": {text: `"ForAnyValue:StringNotEquals"`},
	"L20": {text: `"*"`},
	"L21": {text: `"iot:ListRetainedMessages"`},
	"L22": {text: `"arn:aws:iot::123456789012:topic/a"`},
	"L23": {text: `"iot:publish"`},
	"L24": {text: `"arn:aws:iot:us-east-1:123456789012:topicfilter/$share/*/secret/*"`},
	"L25": {text: `"arn:aws:iot:*:*:topic/dt"`},
	"L26": {text: `"StringEquals"`},
	"L27": {text: `{`},
	"L28": {text: `"iot:LastWillTopic"`},
	"L29": {text: `"ForAnyValue:StringEquals"`},
	"L30": {text: `"arn:aws:iot:us-east-1:123456789012:topic/dt/${iot:Connection.Thing.ThingName}*"`},
	"L31": {text: `"arn:aws:iot:us-east-1:123456789012:topic/$aws/things/`},
	"L32": {text: `"iot:Publish"`},
	"L33": {text: `{`, n: 5},
	"L34": {text: `"arn:aws:iot:us-east-1:123456789012:topic/dt/${iot:Certificate.Subject.CommonName}"`},
}

// place finds the n-th text in a file, as line and column.
func (m *markedFile) place(t *testing.T, text string, n int) (line, column int) {
	t.Helper()
	at := -1
	for range n + 1 {
		next := bytes.Index(m.raw[at+1:], []byte(text))
		if next < 0 {
			t.Fatalf("%s does not have %s %d times", m.file, text, n+1)
		}
		at += 1 + next
	}
	lines := strings.Split(string(m.raw[:at]), "\n")
	return len(lines), len([]rune(lines[len(lines)-1])) + 1
}

type markedFile struct {
	file string
	raw  []byte
}

// TestRules is P5: on a folder with a case for each rule, each is found, at its
// line and column.
func TestRules(t *testing.T) {
	report, err := Files([]string{"testdata/rules"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 34; n++ {
		id := "L" + string(rune('0'+n/10)) + string(rune('0'+n%10))
		t.Run(id, func(t *testing.T) {
			mark, ok := marks[id]
			if !ok {
				t.Fatal("the rule has no case")
			}
			file := filepath.Join("testdata", "rules", id+".json")
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			line, column := (&markedFile{file, raw}).place(t, mark.text, mark.n)
			rule, _ := ruleOf(id)
			var found []string
			for _, f := range report.Findings {
				if f.File != file {
					continue
				}
				found = append(found, f.Where()+" "+f.Rule)
				if f.Rule == id && f.Line == line && f.Column == column {
					if f.Message == "" || f.Fix == "" || f.Title != rule.Title || f.Severity > rule.Severity && id != "L09" {
						t.Errorf("the finding is not whole: %+v", f)
					}
					return
				}
			}
			t.Errorf("%s:%d:%d: %s is not found; there is %s", file, line, column, id, strings.Join(found, ", "))
		})
	}
}

// TestMended shows that each case, with its fix made, has no finding at all.
func TestMended(t *testing.T) {
	report, err := Files([]string{"testdata/mended"}, Options{Gateway: corpusGateway})
	if err != nil {
		t.Fatal(err)
	}
	if report.Documents != 34 {
		t.Errorf("%d documents, want one for each rule", report.Documents)
	}
	for _, f := range report.Findings {
		t.Errorf("%s: %s %s: %s", f.Where(), f.Rule, f.Severity, f.Message)
	}
}

// TestCatalogue keeps the rules whole, their severities those of policy §14.
func TestCatalogue(t *testing.T) {
	want := map[Severity]string{
		Critical: "L10 L14 L20",
		High:     "L02 L03 L04 L05 L08 L09 L11 L12 L13 L15 L22 L24 L30",
		Medium:   "L01 L06 L07 L16 L18 L19 L21 L25 L26 L28 L29 L31 L32 L34",
		Low:      "L17 L23 L27 L33",
	}
	got := map[Severity][]string{}
	for _, r := range catalogue() {
		got[r.Severity] = append(got[r.Severity], r.ID)
		if r.Title == "" || r.Why == "" || r.Fix == "" || r.Wrong == "" || r.find == nil {
			t.Errorf("%s is not whole", r.ID)
		}
	}
	for s, list := range want {
		if strings.Join(got[s], " ") != list {
			t.Errorf("%s: %v, want %s", s, got[s], list)
		}
	}
}

// TestVariants are turns of a rule that its case in testdata does not take.
func TestVariants(t *testing.T) {
	const arn = "arn:aws:iot:us-east-1:123456789012:"
	tests := []struct {
		name       string
		statements string
		want       string // rules that must be found, and those behind ! that must not
	}{
		{"L01 a literal filter with iot:Receive below it is a remark", `{"Effect":"Allow","Action":"iot:Subscribe","Resource":"A:topicfilter/a/+"},{"Effect":"Allow","Action":"iot:Receive","Resource":"A:topic/a/*"}`, "L01/l !L06/l"},
		{"L01 a plus in a client id is one", `{"Effect":"Allow","Action":"iot:Connect","Resource":"A:client/a+b"}`, "!L01/m !L01/l"},
		{"L02 a Deny of iot:Publish", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/a/*"},{"Effect":"Deny","Action":"iot:Publish","Resource":"A:topic/a/+/cmd"}`, "L02/h"},
		{"L03 iot:Receive on other topics only", `{"Effect":"Allow","Action":"iot:Subscribe","Resource":"A:topicfilter/a/*"},{"Effect":"Deny","Action":"iot:Subscribe","Resource":"A:topicfilter/a/b"},{"Effect":"Allow","Action":"iot:Receive","Resource":"A:topic/a/c"}`, "!L03/h"},
		{"L04 another service's action is not judged", `{"Effect":"Allow","Action":["greengrass:Discover","iotjobsdata:DescribeJobExecution"],"Resource":"A:topic/$aws/things/t"}`, "!L04/h !L05/h !L05/l"},
		{"L05 the control plane", `{"Effect":"Allow","Action":"iot:CreateThing","Resource":"*"}`, "L05/h"},
		{"L05 a wildcard for nothing", `{"Effect":"Allow","Action":"iot:Foo*","Resource":"*"}`, "L05/h"},
		{"L08 parentheses", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/a$(*)"}`, "L08/h"},
		{"L08 every known name", `{"Effect":"Allow","Action":"iot:Publish","Resource":["A:topic/${iot:certificate.subject.commonname.2}","A:topic/${iot:Connection.Thing.Attributes[a.b]}","A:topic/${iot:Certificate.Issuer.AlternativeName.DNSName}","A:topic/${*}"]}`, "!L08/h !L08/l"},
		{"L08 Cognito is a remark", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/${cognito-identity.amazonaws.com:sub}"}`, "L08/l !L08/h"},
		{"L08 before the fifth colon", `{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:${aws:Region}:123456789012:topic/a"}`, "L08/h"},
		{"L10 a thing's type binds", `{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"StringEquals":{"iot:Connection.Thing.ThingTypeName":"Pump"}}}`, "!L10/c"},
		{"L10 IfExists does not bind", `{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"BoolIfExists":{"iot:Connection.Thing.IsAttached":"true"}}}`, "L10/c"},
		{"L10 both values do not bind", `{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"Bool":{"iot:Connection.Thing.IsAttached":["true","false"]}}}`, "L10/c"},
		{"L10 a Deny without a thing binds", `{"Effect":"Allow","Action":"iot:Connect","Resource":"*"},{"Effect":"Deny","Action":"iot:Connect","Resource":"*","Condition":{"Bool":{"iot:Connection.Thing.IsAttached":false}}}`, "!L10/c"},
		{"L10 claim certificates are a remark", `{"Effect":"Allow","Action":"iot:Connect","Resource":"*"},{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/$aws/certificates/create/*"}`, "L10/l !L10/c"},
		{"L10 a family of client ids", `{"Effect":"Allow","Action":"iot:Connect","Resource":"A:client/press-*"}`, "!L10/c"},
		{"L11 an attached client id", `{"Effect":"Allow","Action":"iot:Connect","Resource":"A:client/${iot:ClientId}","Condition":{"Bool":{"iot:Connection.Thing.IsAttached":"true"}}},{"Effect":"Allow","Action":"iot:Subscribe","Resource":"A:topicfilter/a/${iot:ClientId}"}`, "!L11/h !L11/m !L11/l !L10/c"},
		{"L12 NotResource in an Allow", `{"Effect":"Allow","Action":"iot:Publish","NotResource":"A:topic/${iot:Connection.Thing.ThingTypeName}"}`, "L12/h L13/h"},
		{"L14 a rule that is named", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/$aws/rules/r/*"}`, "!L14/c"},
		{"L14 shadows from any root", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/*/shadow/update"}`, "L14/c"},
		{"L14 all of $aws", `{"Effect":"Allow","Action":"iot:Subscribe","Resource":"A:topicfilter/$aws/*"}`, "L14/c"},
		{"L15 in a Deny it is safe", `{"Effect":"Deny","Action":"iot:Publish","Resource":"A:topic/a","Condition":{"ForAllValues:StringEquals":{"iot:Certificate.Subject.Country.List":"x"}}}`, "!L15/h"},
		{"L18 an address in a Deny", `{"Effect":"Deny","Action":"iot:Publish","Resource":"A:topic/a","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`, "!L18/m !L18/l"},
		{"L20 the four actions on everything", `{"Effect":"Allow","Action":["iot:Connect","iot:Publish","iot:Subscribe","iot:Receive"],"Resource":"*"}`, "L20/c"},
		{"L20 iot:Receive on everything", `{"Effect":"Allow","Action":"iot:Receive","Resource":"*"}`, "!L20/c !L14/c"},
		{"L22 the region's partition", `{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:cn-north-1:123456789012:topic/a"}`, "L22/h"},
		{"L22 a placeholder", `{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:us-east-1:ACCOUNT:topic/a"}`, "L22/h"},
		{"L24 the twin is there", `{"Effect":"Allow","Action":"iot:Subscribe","Resource":"A:topicfilter/*"},{"Effect":"Deny","Action":"iot:Subscribe","Resource":["A:topicfilter/s","A:topicfilter/$share/*/s"]}`, "!L24/h"},
		{"L24 a fixed filter behind the group is a remark", `{"Effect":"Allow","Action":"iot:Subscribe","Resource":"A:topicfilter/$share/*/a/b"}`, "L24/l !L24/h"},
		{"L24 only another document could allow it", `{"Effect":"Allow","Action":"iot:Subscribe","Resource":"A:topicfilter/a/*"},{"Effect":"Deny","Action":"iot:Subscribe","Resource":"A:topicfilter/a/b"}`, "L24/l !L24/h"},
		{"L27 beside L00 where the document is too long", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/` + strings.Repeat("x", 2000) + `"}`, "L00/c L27/l"},
		{"L28 another way in", `{"Effect":"Allow","Action":"iot:Connect","Resource":"A:client/a","Condition":{"ArnLike":{"iot:LastWillTopic":"A:topic/w"}}},{"Effect":"Allow","Action":"iot:Connect","Resource":"A:client/b"}`, "!L28/m"},
		{"L30 a certificate's id has one length", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/${iot:CertificateId}*"}`, "!L30/h"},
		{"L33 the later of twins", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/a"},{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/a"}`, "L33/l"},
		{"L33 other conditions", `{"Effect":"Allow","Action":"iot:Publish","Resource":"A:topic/a"},{"Effect":"Deny","Action":"iot:Publish","Resource":"*","Condition":{"Bool":{"iot:Connection.Thing.IsAttached":"false"}}}`, "!L33/l"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := `{"Version":"2012-10-17","Statement":[` + strings.ReplaceAll(test.statements, `"A:`, `"`+arn) + `]}`
			report, err := Documents([]Source{{Name: "p", File: "p.json", Text: []byte(text)}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := " " + ids(report.Findings) + " "
			for _, want := range strings.Fields(test.want) {
				id, not := strings.CutPrefix(want, "!")
				if strings.Contains(got, " "+id+" ") == not {
					t.Errorf("want %s, got%s", want, got)
				}
			}
		})
	}
}
