package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// generator draws policy sets, contexts and requests that have a good chance
// to meet, hostile ones among them.
type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

// few draws up to n things.
func few[T any](g generator, n int, draw func() T) []T {
	out := make([]T, g.IntN(n)+1)
	for i := range out {
		out[i] = draw()
	}
	return out
}

var generatedVariables = []string{
	"iot:ClientId", "IOT:clientid", "iot:Connection.Thing.ThingName", "iot:Connection.Thing.ThingTypeName",
	"iot:Connection.Thing.Attributes[line]", "iot:connection.thing.attributes[Line]", "iot:Connection.Thing.IsAttached",
	"iot:CertificateId", "iot:Certificate.Subject.CommonName", "iot:Certificate.Subject.CommonName.1", "iot:Certificate.Subject.CommonName.9",
	"iot:Certificate.Subject.CommonName.List", "iot:Certificate.SerialNumber", "aws:SourceIp", "iot:Unknown", "*", "?", "$", "",
	"iot:Connection.Thing.ThingTypeName, 'none'", "iot:ClientId, 'a*'", "iot:LastWillTopic", "aws:CurrentTime",
}

// word is a short text of what may stand in topics and client ids.
func (g generator) word() string {
	return pick(g, "a", "b", "ab", "press-1", "A", "é", "😀", "", "x:y", "*", "?", "+", "#", "$aws", "${iot:ClientId}", "a.b", "[a]", "\\", "(", "^", "}", "topic", "a:topic", "9999-12-31", "1000-01-01T00:00:00.000000001Z", "\n", "\x00", "\u202e", "e\u0301", strings.Repeat("a/", 40))
}

func (g generator) name() string { return strings.Join(few(g, 4, g.word), pick(g, "/", "/", ":", "")) }

// pattern is a name in which words became wildcards or variables.
func (g generator) pattern() string {
	return strings.Join(few(g, 4, func() string {
		switch g.IntN(6) {
		case 0:
			return pick(g, "*", "?", "**", "a*", "*a", "??", "*?", "a*b*c")
		case 1, 2:
			return "${" + pick(g, generatedVariables...) + "}"
		case 3:
			return pick(g, "$", "${", "}", "$*", "{a}")
		default:
			return g.word()
		}
	}), pick(g, "/", "/", ":", ""))
}

func (g generator) resource() string {
	if g.IntN(8) == 0 {
		return pick(g, "*", "arn:aws:iot:us-east-1:123456789012:topic*/$share/*/"+g.pattern(), "arn:aws:iot:us-east-1:123456789012:topic/$share/g/*", "arn:aws:iot:*", "arn:aws:iot:us-east-1:*", "arn:aws:iot:*:topic/a", "arn:*", "arn:aws:iot:us-east-1:?", "arn:aws:iot:us-*2:topic/"+g.pattern(), "arn:?ws:iot:u*1:*:topic*/*")
	}
	return strings.Join([]string{
		"arn", pick(g, "aws", "aws", "aws-cn", "aws*", "*", "a?s"), pick(g, "iot", "iot", "iot", "*", "i*t", "greengrass"),
		pick(g, "us-east-1", "us-east-1", "*", "us-*-1", "us-*", "", "eu-west-1", "u?-east-1"),
		pick(g, "123456789012", "123456789012", "*", "1*2", "1234*", "", "111111111111"),
		pick(g, "topic/", "topic/", "topicfilter/", "client/", "topic*", "*", "t?pic/", "", "${iot:ClientId}/") + g.pattern(),
	}, ":")
}

var generatedKeys = []string{
	"iot:ClientId", "iot:clientid", "iot:Connection.Thing.ThingName", "iot:Connection.Thing.IsAttached", "iot:Connection.Thing.ThingTypeName",
	"iot:Connection.Thing.Attributes[line]", "iot:Certificate.Subject.CommonName", "iot:Certificate.Subject.CommonName.List",
	"iot:Certificate.Subject.CommonName.1", "iot:Certificate.AvailableKeys", "iot:CertificateId", "iot:Unknown", "iot:SourceIp",
	"iot:ConnectAttributes", "iot:ConnectAttributes", "IOT:connectattributes", "iot:LastWillTopic", "iot:LastWillTopic", "iot:lastWillTopic",
	"aws:SourceIp", "aws:SourceIp", "aws:CurrentTime", "aws:EpochTime",
}

func (g generator) operator() string {
	name := pick(g, sortedOperators()...)
	if name == "Null" {
		return name
	}
	return pick(g, "", "", "ForAllValues:", "ForAnyValue:") + name + pick(g, "", "", "IfExists")
}

// operand draws a value that the parser takes for the operator.
func (g generator) operand(operator string) any {
	o, _ := parseOperator(operator)
	switch o.test.kind() {
	case null, boolean:
		return pick[any](g, "true", "false", "TRUE", true, false)
	case ipAddress:
		return pick(g, "10.0.0.0/8", "10.1.2.3", "::/0", "0.0.0.0/0", "fd00::1", "192.168.0.1/16")
	case numeric:
		return pick[any](g, "1780000000", "10", 7, "-1.5", "007", json.Number("1.0"), "999999999999999")
	case date:
		return pick[any](g, "2026-05-28T20:26:40Z", "2026-05-28", "2026-05-28T22:26+02:00", "1780000000", 1780000001, "2030-01-01T00:00:00.5Z", "2026-05", "9999-12-31", "0001-01-01T00:00:00Z", "253402300799")
	case binaryEquals:
		return pick(g, "YQ==", "UGVyc2lzdGVudENvbm5lY3Q=", "")
	case arnLike:
		return pick(g, g.resource(), "arn:aws:iot:us-east-1:123456789012:topic/"+pick(g, "a", "*", g.pattern()), "*")
	default:
		return pick(g, "PersistentConnect", "LastWill", "persistentconnect", "*", "P*", "arn:aws:iot:us-east-1:123456789012:topic/"+pick(g, "a", "*", g.pattern()),
			"10.1.2.3", "1*", "2026-05-28T20:26:40Z", "9999-12-31", "1780000000", g.word(), g.pattern(), "${iot:ClientId}")
	}
}

func (g generator) condition() map[string]any {
	out := map[string]any{}
	for range g.IntN(2) + 1 {
		operator := g.operator()
		keys := map[string]any{}
		for range g.IntN(2) + 1 {
			values := few(g, 3, func() any { return g.operand(operator) })
			if g.IntN(10) == 0 {
				values = []any{}
			}
			keys[pick(g, generatedKeys...)] = pick[any](g, values, values, g.operand(operator))
		}
		out[operator] = keys
	}
	return out
}

func (g generator) statement() map[string]any {
	action := few(g, 3, func() string {
		return pick(g, "iot:Publish", "iot:Subscribe", "iot:Connect", "iot:Receive", "iot:*", "*", "IOT:PUB*", "iot:?ublish", "iot:RetainPublish", "greengrass:*", "iot:*Publish")
	})
	out := map[string]any{"Effect": pick(g, "Allow", "Allow", "Allow", "Deny")}
	out[pick(g, "Action", "Action", "Action", "NotAction")] = pick[any](g, action, action[0])
	resources := few(g, 3, g.resource)
	out[pick(g, "Resource", "Resource", "Resource", "NotResource")] = pick[any](g, resources, resources[0])
	if g.IntN(2) == 0 {
		out["Condition"] = g.condition()
	}
	return out
}

// gateway draws whose ARNs are asked about, and the switches: most of them have
// their defaults.
func (g generator) gateway() gateway {
	out := pick(g, corpusGateway, corpusGateway, gateway{}, gateway{partition: "aws", account: "123456789012"})
	var s Switches
	for _, w := range AllSwitches() {
		if g.IntN(8) == 0 {
			if value := pick(g, w.Values...); value != "refuse" {
				_ = s.Set(w.Name, value)
			}
		}
	}
	out.switches = &s
	return out
}

// documents draws a set that the strict parser takes.
func (g generator) documents(gw gateway) []*document {
	var out []*document
	for i := range g.IntN(2) + 1 {
		statements := few(g, 3, g.statement)
		raw, _ := json.Marshal(map[string]any{"Version": pick(g, version2012, version2012, version2012, version2008), "Statement": pick[any](g, statements, statements, statements[0])})
		name := fmt.Sprintf("p%d", i)
		d, faults := parseDocument(name, name+".json", raw, gw)
		if len(faults) > 0 {
			if len(raw) > maxDocument {
				return g.documents(gw)
			}
			panic(faults.Error() + "\n" + string(raw))
		}
		out = append(out, d)
	}
	return out
}

func (g generator) session() session {
	s := session{clientID: g.word(), http: g.IntN(12) == 0, sourceIP: pick(g, "10.1.2.3", "192.168.3.4", "fd00::1", "::ffff:10.1.2.3", "")}
	if g.IntN(3) > 0 {
		s.thing, s.thingType, s.attached, s.exclusive = pick(g, s.clientID, s.clientID, "press-1"), pick(g, "", "press"), g.IntN(4) > 0, g.IntN(4) == 0
		s.attribute = map[string]string{pick(g, "line", "Line", "fw"): g.word()}
	}
	if g.IntN(2) == 0 {
		names := few(g, 6, func() string { return pick(g, g.word(), "press-1", "a", "b", strings.Repeat("x", 1025)) })
		s.certificate = &certificateFacts{id: pick(g, "c0ffee", "a"), serial: pick(g, "0A1B", ""), subject: map[string][]string{"CommonName": names}}
	}
	return s
}

func (g generator) request(documents []*document, s session) *request {
	r := &request{action: pick(g, "iot:Publish", "iot:Publish", "iot:Subscribe", "iot:Connect", "iot:Receive", "iot:RetainPublish", "iot:ListRetainedMessages", "iot:Other")}
	r.kind, r.name = pick(g, "topic/", "topic/", "topicfilter/", "client/", "*", ""), g.near(documents, s)
	r.source = s.sourceIP
	if r.action == "iot:Receive" && r.kind == "topic/" && g.IntN(2) == 0 {
		r.share = pick(g, "g", "G:1", "*")
	}
	if r.kind == "topicfilter/" && g.IntN(4) == 0 {
		r.name = pick(g, "$share/g/", "$share/", "$share/g", "$share//", "$share/*/") + r.name
	}
	now := time.Unix(1780000000+int64(g.IntN(3)-1), int64(g.IntN(1e9)))
	r.clock = at(now)
	if r.action == "iot:Connect" {
		r.attributes = pick(g, nil, []string{"PersistentConnect"}, []string{"LastWill"}, connectAttributes[3], connectAttributes[3], []string{"Future"})
		if g.IntN(2) == 0 {
			r.hasWill, r.willTopic = true, pick(g, "a", "a/b", g.name())
		}
	}
	return r
}

// near draws a name from one of the patterns, so that it often fits.
func (g generator) near(documents []*document, s session) string {
	statements := pick(g, documents...).statements
	resources := pick(g, statements...).resources
	text := pick(g, resources...).text
	if fields := strings.SplitN(text, ":", 6); len(fields) == 6 && g.IntN(4) > 0 {
		text = fields[5]
		for _, kind := range []string{"topic/", "topicfilter/", "client/"} {
			text = strings.TrimPrefix(text, kind)
		}
		text = strings.NewReplacer("${iot:ClientId}", s.clientID, "${iot:Connection.Thing.ThingName}", s.thing, "${aws:SourceIp}", s.sourceIP,
			"${*}", "*", "${?}", "?", "${$}", "$", "*", g.word(), "?", pick(g, "a", "é", "/", ":")).Replace(text)
		return text
	}
	return g.name()
}

// sortedOperators lists the operators in a fixed order, for seeds to hold.
func sortedOperators() []string {
	return []string{
		"Null", "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "Bool", "BinaryEquals", "IpAddress",
		"NumericEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
		"DateEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
		"StringNotEquals", "StringNotEqualsIgnoreCase", "StringNotLike", "ArnNotEquals", "ArnNotLike", "NotIpAddress", "NumericNotEquals", "DateNotEquals",
	}
}
