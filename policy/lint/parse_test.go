package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/policy"
)

// odd are documents that are wrong, or nearly so.
var odd = []string{
	``, `  `, `[]`, `null`, `"x"`, `{`, `{}`, `{"Statement":[]}`, `{"Version":"2012-10-17"}`, "\xff{}", "\uFEFF{}", "\xff\xfe{\x00}\x00", "\xfe\xff\x00{", `{"a":1,}`, `{"a":01}`, `{"a":"\x"}`, `{"a":"\ud800"}`,
	`{"a":"\ud83d\ude00"}`, `{"a":tru}`, `{"a":1}{}`, "{\"a\":\"\n\"}", strings.Repeat("[", 40), strings.Repeat(`{"a":`, 40),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*"`),
	st(`"effect":"Allow","Action":"iot:Publish","Resource":"*"`),
	st(`"Effect":"Allow","Effect":"Deny","Action":"iot:Publish","Resource":"*"`),
	st(`"Effect":"allow","Action":"iot:Publish","Resource":"*"`),
	st(`"Effect":"Allow","Action":[],"Resource":"*"`),
	st(`"Effect":"Allow","Action":["iot:Publish",1],"Resource":"*"`),
	st(`"Effect":"Allow","Action":"iot:Publish","NotAction":"iot:Publish","Resource":"*"`),
	st(`"Effect":"Allow","Action":"iot:Publish"`),
	st(`"Effect":"Allow","Action":"Publish","Resource":"*"`),
	st(`"Effect":"Allow","Action":"iot:${iot:ClientId}","Resource":"*"`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"topic/a"`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot"`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:i*t:us*1:topic/a"`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":["arn:*","arn:aws:iot:us-east-1:*","arn:aws:iot:*:topic/a"]`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"arn*"`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:us-east-1:123456789012"`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Principal":"*"`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":[]`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"stringequals":{"iot:ClientId":"a"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"StringEquals":{}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"StringEquals":{"clientid":"a"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"StringEquals":{"iot:ClientId":[]}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"StringEquals":{"iot:ClientId":{}}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"StringEquals":{"iot:ClientId":"a"},"StringEquals":{"iot:ClientId":"b"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"NullIfExists":{"iot:ClientId":"true"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"Null":{"iot:ClientId":"maybe"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"Bool":{"iot:ClientId":true}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.1","10.0.0.0/8","fe80::/10"]}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"fe80::1%eth0"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"NumericLessThan":{"aws:EpochTime":[1,"-2.5"]}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"NumericLessThan":{"aws:EpochTime":"1e3"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"NumericLessThan":{"aws:EpochTime":"1234567890123456"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-12-31T23:59:59Z"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":["9999-12-31","9999-12-31T23:59:59Z","0000-01","253402300799"]}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"253402300800"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-1"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-12-31T23:59+02:00"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"1767225600"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"9767225600"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"BinaryEquals":{"iot:ClientId":"QUJD"}}`),
	st(`"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{"BinaryEquals":{"iot:ClientId":"?"}}`),
	st(`"Sid":"a b","Effect":"Allow","Action":"iot:Publish","Resource":"*"`),
	st(`"Sid":"","Effect":"Allow","Action":"iot:Publish","Resource":"*"`),
	`{"Version":"2012-10-17","Id":1,"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
	`{"Version":"2012-10-17","Id":"a; b","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
	`{"Version":"2015-01-01","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
	`{"Statement":[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]}`,
	`{"Statement":[1]}`,
	`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:` + strings.Repeat("x", 3000) + `"}}`,
	`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:iot:us-east-1:1:topic/` + strings.Repeat("é", 1900) + `"}}`,
}

func st(statement string) string {
	return `{"Version":"2012-10-17","Statement":[{` + statement + `}]}`
}

// agree fails when lint and the engine differ about a document's validity, or
// about where the first fault is.
func agree(t testing.TB, desk *policy.Desk, text []byte) {
	_, faults := parseDocument(Source{Name: "p", File: "p", Text: text})
	_, err := desk.Ask(t.Context(), []policy.Document{{Name: "p", Text: text}}, policy.Context{ClientID: "c"}, policy.Question{Action: "iot:Publish", Resource: "topic/a"})
	if (err != nil) != (len(faults) > 0) {
		t.Errorf("lint says %v, the engine %v, about %q", faults, err, text)
		return
	}
	wrong, ok := errors.AsType[policy.Faults](err)
	if len(faults) == 0 || !ok {
		return
	}
	if len(wrong) != len(faults) {
		t.Errorf("lint says %v, the engine %v, about %q", faults, err, text)
	}
}

func newDesk(t testing.TB) *policy.Desk {
	t.Helper()
	desk, err := policy.NewDesk(policy.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	return desk
}

// TestValidity is policy §13: lint refuses what the engine refuses, for as
// many reasons, though the two share no code.
func TestValidity(t *testing.T) {
	desk := newDesk(t)
	for i, text := range odd {
		t.Run(fmt.Sprint(i), func(t *testing.T) { agree(t, desk, []byte(text)) })
	}
	seen := map[string]bool{}
	for _, row := range corpus(t) {
		for _, src := range row.sources() {
			if !seen[string(src.Text)] {
				seen[string(src.Text)] = true
				agree(t, desk, src.Text)
			}
		}
	}
}

// TestFaultPlaces shows where faults are said to be.
func TestFaultPlaces(t *testing.T) {
	tests := []struct{ text, want string }{
		{"{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\"Éffect\": 1, \"effect\": 2}\n  ]\n}", "4:6 4:19 4:5 4:5 4:5"},
		{"{\n\t\"a\" 1}", "2:6"},
		{"{\"Statement\": 7}", "1:15"},
		{"\ufeff{}", "1:1"},
	}
	for _, test := range tests {
		report, err := Documents([]Source{{File: "f", Text: []byte(test.text)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range report.Findings {
			if f.Rule != "L00" || f.Severity != Critical {
				t.Errorf("%+v is not L00", f)
			}
			got = append(got, fmt.Sprintf("%d:%d", f.Line, f.Column))
		}
		want := strings.Fields(test.want)
		for _, w := range want {
			if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+w+" ") {
				t.Errorf("%q: %v, want %v", test.text, got, want)
			}
		}
	}
}

// TestEnvelope is what "aws iot get-policy" prints: positions are those of the
// document, and the file's beside them.
func TestEnvelope(t *testing.T) {
	document := "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [{\n    \"Effect\": \"Allow\", \"Action\": \"iot:Publish\",\n    \"Resource\": \"arn:aws:iot:us-east-1:123456789012:topic/\\u00e9/#\"\n  }]\n}"
	quoted, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "out.json")
	text := "{\n    \"policyName\": \"device\",\n    \"policyDocument\": " + string(quoted) + ",\n    \"defaultVersionId\": \"1\"\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := Files([]string{file}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(strings.Split(text, "\n")[2], `\"arn:`) + 1
	for _, f := range report.Findings {
		if f.Rule != "L01" {
			continue
		}
		if f.Policy != "device" || f.Line != 5 || f.Column != 17 || f.FileLine != 3 || f.FileColumn != at {
			t.Errorf("%+v, want policy device, 5:17, 3:%d in the file", f, at)
		}
		return
	}
	t.Error("the wildcard is not found: ", ids(report.Findings))
}

// TestHostile judges what is as large or as tangled as AWS would take; it
// would not come to an end if a rule tried every combination.
func TestHostile(t *testing.T) {
	const arn = "arn:aws:iot:us-east-1:123456789012:topicfilter/"
	pair := func(name string) string {
		one := `{"Effect":"Allow","Action":"iot:*","Resource":"` + arn + name + `"}`
		return `{"Version":"2012-10-17","Statement":[` + one + "," + strings.Replace(one, "Allow", "Deny", 1) + "]}"
	}
	for name, text := range map[string]string{
		"stars":           pair(strings.Repeat("*a", 400)),
		"levels":          pair(strings.Repeat("/", 850)),
		"variables":       pair(strings.Repeat("${iot:ClientId}*/", 20) + strings.Repeat("#/", 200)),
		"statements":      `{"Version":"2012-10-17","Statement":[` + strings.TrimSuffix(strings.Repeat(`{"Effect":"Allow","Action":"*","Resource":"arn:*"},`, 75), ",") + "]}",
		"10,000 of them":  `{"Statement":[` + strings.TrimSuffix(strings.Repeat(`{"Effect":"Allow","Action":"*","Resource":"*"},`, 10000), ",") + "]}",
		"depth":           strings.Repeat("[", 200000),
		"a long string":   `{"Version":"` + strings.Repeat("x", 250000) + `"}`,
		"2 MB of nothing": strings.Repeat(" ", 2<<20),
		"an envelope":     `{"policyDocument":"` + strings.Repeat(`\u0041`, 20000) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			report, err := Documents([]Source{{Name: "p", File: "p", Text: []byte(text)}}, Options{})
			if err != nil || len(report.Findings) == 0 {
				t.Errorf("%v, %v", report, err)
			}
		})
	}
}

func FuzzDocument(f *testing.F) {
	for _, text := range odd {
		f.Add([]byte(text))
	}
	files, err := filepath.Glob("testdata/rules/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no cases: ", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"policyName":"x","policyDocument":"{\"Statement\":1}"}`))
	desk := newDesk(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		report, err := Documents([]Source{{Name: "p", File: "p", Text: text}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(string(text), "\n") + 1
		for _, finding := range report.Findings {
			if finding.FileLine == 0 && (finding.Line < 1 || finding.Line > lines || finding.Column < 1) {
				t.Errorf("%s:%d:%d is no place in %q", finding.Rule, finding.Line, finding.Column, text)
			}
		}
		if _, wrapped := unwrap(text); !wrapped {
			agree(t, desk, text)
		}
	})
}
