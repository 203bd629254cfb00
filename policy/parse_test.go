package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func parse(text string) (*document, Faults) {
	return parseDocument("device", "policies/device.json", []byte(text), gateway{})
}

// statementWith is a whole document around the members of one statement.
func statementWith(members string) string {
	return `{"Version": "2012-10-17", "Statement": [{` + members + `}]}`
}

const rest = `"Effect": "Allow", "Action": "iot:Publish", "Resource": "*"`

// TestBadDocuments has one document for every rejection.
func TestBadDocuments(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":                  {" \n", "the document is empty"},
		"no JSON":                {`{"Version": "2012-10-17",`, "not JSON: unexpected end of JSON input"},
		"comma missing":          {"{\"Version\": \"2012-10-17\"\n \"Statement\": []}", ":2:2: not JSON: invalid character '\"' after object key:value pair"},
		"something behind":       {`{} {}`, "not JSON: invalid character '{' after top-level value"},
		"byte order mark":        {"\uFEFF{}", ":1:1: the text begins with a byte order mark: save the file as UTF-8 without one"},
		"UTF-16":                 {"\xff\xfe{\x00}\x00", ":1:1: the text is UTF-16: save the file as UTF-8"},
		"not UTF-8":              {"{\"Id\": \"\xff\"}", ":1:9: the text is not valid UTF-8"},
		"half a character":       {`{"Id": "\ud800"}`, "an escape names half a character"},
		"deep":                   {strings.Repeat("[", 10000) + strings.Repeat("]", 10000), "nests too deep"},
		"list":                   {`[]`, "a policy is a JSON object, this is a list"},
		"no Statement":           {`{"Version": "2012-10-17"}`, "there is no Statement"},
		"empty Statement":        {`{"Version": "2012-10-17", "Statement": []}`, "Statement is empty"},
		"null Statement":         {`{"Version": "2012-10-17", "Statement": null}`, "a statement is a JSON object, this is null"},
		"other Version":          {`{"Version": "2015-01-01", "Statement": [{` + rest + `}]}`, "Version is neither"},
		"Version is a number":    {`{"Version": 2012, "Statement": [{` + rest + `}]}`, "Version is neither"},
		"version in small":       {`{"version": "2012-10-17", "Statement": [{` + rest + `}]}`, `"version" is not an element of a policy here; write "Version"`},
		"Version twice":          {`{"Version": "2012-10-17", "Version": "2008-10-17", "Statement": [{` + rest + `}]}`, `"Version" is here twice`},
		"Id is no string":        {`{"Id": 7, "Statement": [{` + rest + `}]}`, "Id is not a string"},
		"effect in small":        {statementWith(`"effect": "Allow", "Action": "iot:Publish", "Resource": "*"`), `Statement[0]: "effect" is not an element of a policy here; write "Effect"`},
		"Effect in small":        {statementWith(`"Effect": "allow", "Action": "iot:Publish", "Resource": "*"`), "Effect is neither"},
		"no Effect":              {statementWith(`"Action": "iot:Publish", "Resource": "*"`), "there is no Effect"},
		"Effect twice":           {statementWith(`"Effect": "Deny", ` + rest), `"Effect" is here twice`},
		"Actions":                {statementWith(`"Effect": "Allow", "Actions": "iot:Publish", "Resource": "*"`), `"Actions" is not an element of a policy here; write "Action"`},
		"Principal":              {statementWith(`"Principal": "*", ` + rest), `"Principal" is not an element of a policy here; take it out: the policy applies`},
		"no Action":              {statementWith(`"Effect": "Allow", "Resource": "*"`), "there is neither Action nor NotAction"},
		"both Actions":           {statementWith(`"NotAction": "iot:Connect", ` + rest), "there are both Action and NotAction"},
		"no Resource":            {statementWith(`"Effect": "Allow", "Action": "*"`), "there is neither Resource nor NotResource"},
		"both Resources":         {statementWith(`"NotResource": "*", ` + rest), "there are both Resource and NotResource"},
		"empty Action":           {statementWith(`"Effect": "Allow", "Action": [], "Resource": "*"`), "the list is empty"},
		"Action without service": {statementWith(`"Effect": "Allow", "Action": "Publish", "Resource": "*"`), `"Publish" is not an action; write the service before it`},
		"variable in Action":     {statementWith(`"Effect": "Allow", "Action": "iot:${iot:ClientId}", "Resource": "*"`), "variables stand in Resource and Condition only"},
		"Action is a number":     {statementWith(`"Effect": "Allow", "Action": [1], "Resource": "*"`), "a string is needed here, this is a number"},
		"Resource is no ARN":     {statementWith(`"Effect": "Allow", "Action": "iot:Publish", "Resource": "topic/x"`), `write it out, such as "arn:aws:iot:*:*:topic/x"`},
		"ARN of two fields":      {statementWith(`"Effect": "Deny", "Action": "iot:Publish", "Resource": "arn:aws"`), `"arn:aws" is neither an ARN nor "*"; write all six fields`}, // §13
		"ARN of five fields":     {statementWith(`"Effect": "Deny", "Action": "iot:Publish", "NotResource": ["*", "arn:aws:iot:us-east-1:topic/x"]`), "write all six fields"},
		"no ARN at all":          {statementWith(`"Effect": "Deny", "Action": "iot:Publish", "Resource": "arnica:a:b:c:d:e"`), "neither an ARN"},
		"Sid with a space":       {statementWith(`"Sid": "a b", ` + rest), "Sid is not made of letters and digits"},
		"Sid twice":              {`{"Statement": [{"Sid": "a", ` + rest + `}, {"Sid": "a", ` + rest + `}]}`, `Statement[1]: Sid "a" is that of Statement[0] too`},
		"Condition is a list":    {statementWith(rest + `, "Condition": []`), "Condition is a JSON object, this is a list"},
		"unknown operator":       {statementWith(rest + `, "Condition": {"StringMatches": {"iot:ClientId": "a"}}`), `"StringMatches" is not a condition operator`},
		"operator in small":      {statementWith(rest + `, "Condition": {"stringequals": {"iot:ClientId": "a"}}`), "write StringEquals"},
		"unknown quantifier":     {statementWith(rest + `, "Condition": {"ForSomeValues:StringEquals": {"iot:ClientId": "a"}}`), "is not a condition operator"},
		"date without a zone":    {statementWith(rest + `, "Condition": {"DateLessThan": {"aws:CurrentTime": "9999-12-31T00:00:00"}}`), "is no value for this operator; write a time such as"},
		"bare year":              {statementWith(rest + `, "Condition": {"DateLessThan": {"aws:CurrentTime": "9999"}}`), "is no value for this operator"},
		"NullIfExists":           {statementWith(rest + `, "Condition": {"NullIfExists": {"iot:ClientId": "true"}}`), "is not a condition operator"},
		"empty operator":         {statementWith(rest + `, "Condition": {"StringEquals": {}}`), "an operator needs an object with at least one key"},
		"operator twice":         {statementWith(rest + `, "Condition": {"Bool": {"a:b": "true"}, "Bool": {"a:c": "true"}}`), "the operator is here twice"},
		"key twice":              {statementWith(rest + `, "Condition": {"Bool": {"a:b": "true", "a:b": "false"}}`), `the key "a:b" is here twice`},
		"key without service":    {statementWith(rest + `, "Condition": {"Bool": {"IsAttached": "true"}}`), `"IsAttached" is not a condition key`},
		"value is an object":     {statementWith(rest + `, "Condition": {"Bool": {"a:b": {}}}`), "a condition value is a string, a number or true or false, this is an object"},
		"no bool":                {statementWith(rest + `, "Condition": {"Bool": {"a:b": "yes"}}`), `"yes" is no value for this operator`},
		"no address":             {statementWith(rest + `, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0"}}`), `"10.0.0" is no value for this operator`},
		"no number":              {statementWith(rest + `, "Condition": {"NumericEquals": {"a:b": "1e3"}}`), `"1e3" is no value for this operator`},
		"no date":                {statementWith(rest + `, "Condition": {"DateEquals": {"a:b": "2026"}}`), `"2026" is no value for this operator`},
		"too large":              {statementWith(`"Sid": "` + strings.Repeat("a", 2048) + `", ` + rest), "characters without white space, AWS takes 2048"},
		"too large by far":       {strings.Repeat(" ", 2<<20), "the file has more than 262144 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			d, faults := parse(c.text)
			if d != nil || len(faults) == 0 {
				t.Fatal("accepted")
			}
			text := faults.Error()
			if !strings.Contains(text, c.want) || !strings.HasPrefix(text, "policies/device.json:") {
				t.Errorf("says %s", text)
			}
			for _, f := range faults {
				if f.Remedy == "" || strings.ContainsAny(f.Error(), "\n\r\x1b") {
					t.Errorf("%q has no remedy or is not one line", f.Error())
				}
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, faults := parse("{\"Version\": \"x\", \"Statement\": [\n  {\"Effect\": \"Alow\", \"Action\": \"Publish\", \"Resource\": \"x\"},\n  {}\n]}")
	var places []string
	for _, f := range faults {
		places = append(places, fmt.Sprintf("%s:%d:%d", f.Where, f.Line, f.Column))
	}
	want := []string{":1:13", "Statement[0]:2:14", "Statement[0]:2:32", "Statement[0]:2:55", "Statement[1]:3:3", "Statement[1]:3:3", "Statement[1]:3:3"}
	if !slices.Equal(places, want) {
		t.Errorf("faults at %v, want %v:\n%v", places, want, faults)
	}
}

func TestGoodDocuments(t *testing.T) {
	for name, text := range map[string]string{
		"one statement":      `{"Version": "2012-10-17", "Id": "x", "Statement": {` + rest + `}}`,
		"lists":              statementWith(`"Sid": "", "Effect": "Deny", "NotAction": ["iot:*", "*"], "NotResource": ["*", "arn:aws:iot:*:*:topic/a"]`),
		"empty Condition":    statementWith(rest + `, "Condition": {}`),
		"empty value list":   statementWith(rest + `, "Condition": {"ForAllValues:StringEquals": {"iot:ConnectAttributes": []}}`),
		"values unquoted":    statementWith(rest + `, "Condition": {"Bool": {"a:b": true}, "NumericLessThan": {"a:b": 10}}`),
		"pretty":             strings.ReplaceAll(statementWith(rest), " ", strings.Repeat(" \t\r\n", 2000)),
		"foreign actions":    statementWith(`"Effect": "Allow", "Action": ["greengrass:Discover", "iot:CreateThing", "*:*"], "Resource": "*"`),
		"surrogates in pair": statementWith(`"Effect": "Allow", "Action": "*", "Resource": "arn:aws:iot:*:*:topic/\ud83d\ude00"`),
	} {
		if d, faults := parse(text); d == nil {
			t.Errorf("%s: %v", name, faults)
		}
	}
	d, _ := parse("{\n \"Statement\": [\n  {\"Sid\": \"NoBar\", " + strings.Replace(rest, "Allow", "Deny", 1) + "}]}")
	if got := d.statements[0].decision.Reason; got != "denied by Statement[0] (NoBar) of policy device, line 3" {
		t.Error(got)
	}
	if d.version != version2008 {
		t.Error("without a Version it is the older language")
	}
}

// Every operator that the rules know is taken, and no other.
func TestOperators(t *testing.T) {
	for _, name := range sortedOperators() {
		if _, ok := parseOperator(name); !ok {
			t.Errorf("%s is unknown", name)
		}
	}
	if got := len(tests) + len(negations); got != len(sortedOperators()) {
		t.Errorf("%d operators, the tests know %d", got, len(sortedOperators()))
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(statementWith(rest)))
	f.Add([]byte(statementWith(rest + `, "Condition": {"ForAnyValue:StringLikeIfExists": {"iot:ClientId": ["${iot:ClientId}", true, 1.5]}}`)))
	f.Add([]byte(`{"Statement":[{{"Effect":"Allow"}]}`))
	f.Add([]byte("{\"a\":\"\\ud800\xff\"}"))
	rules := mustRules(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, faults := parseDocument("p", "p.json", raw, corpusGateway)
		if (d == nil) == (len(faults) == 0) {
			t.Fatal("neither a document nor a fault, or both")
		}
		if d == nil {
			return
		}
		s := session{clientID: "c", thing: "c", attached: true}
		r := &request{action: "iot:Connect", kind: "client/", name: "c", attributes: []string{"LastWill"}, hasWill: true, willTopic: "w", source: "10.0.0.1", clock: at(fixed)}
		fast, _ := fastDecision(t, rules, []*document{d}, corpusGateway, s, r)
		if plain := plainDecision(t, rules, []*document{d}, corpusGateway, s, r); fast != plain {
			t.Errorf("compiled %v, Rego %v", fast, plain)
		}
	})
}
