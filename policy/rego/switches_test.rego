package ebbgate.iot_test

import data.ebbgate.iot

# outcome(document, context, request, switches) is what is decided about one
# document.
outcome(document, context, request, switches) := decision.outcome if {
	decision := iot.decision with input as {
		"documents": [{"name": "p", "document": document}],
		"gateway": here,
		"switches": switches,
		"context": context,
		"request": request,
	}
}

document(statements) := {"Version": "2012-10-17", "Statement": statements}

request(action, name) := {"action": action, "resource": arn(name)}

with_attributes := object.union(request("iot:Connect", "client/d"), {"connect_attributes": ["LastWill"]})

through(group, topic) := object.union(request("iot:Receive", concat("", ["topic/", topic])), {"share": group})

# Each case: a document, a context, a request, how it ends, and how it ends with
# a switch.
switched := {
	"connect attributes": [
		document([allow("iot:Connect", "client/d")]), {"client_id": "d"}, with_attributes,
		"allow", {"connect_attributes_default": "none"}, "implicit_deny",
	],
	"connect attributes that are named": [
		document([object.union(allow("iot:Connect", "client/d"), {"Condition": {"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}}})]),
		{"client_id": "d"}, with_attributes,
		"allow", {"connect_attributes_default": "none"}, "allow",
	],
	"no connect attributes": [
		document([allow("iot:Connect", "client/d")]), {"client_id": "d"}, request("iot:Connect", "client/d"),
		"allow", {"connect_attributes_default": "none"}, "allow",
	],
	"a Deny need not name them": [
		document([allow("*", "*"), deny("iot:Connect", "client/d")]), {"client_id": "d"}, with_attributes,
		"explicit_deny", {"connect_attributes_default": "none"}, "explicit_deny",
	],
	"receive by the group": [
		document([allow("iot:Receive", "topic/$share/g/a")]), {"client_id": "d"}, through("g", "a"),
		"allow", {"share_receive": "topic"}, "implicit_deny",
	],
	"receive by the topic": [
		document([allow("iot:Receive", "topic/a")]), {"client_id": "d"}, through("g", "a"),
		"allow", {"share_receive": "share"}, "implicit_deny",
	],
	"a Deny of either form": [
		document([allow("iot:Receive", "topic/*"), deny("iot:Receive", "topic/$share/*/a")]), {"client_id": "d"}, through("g", "a"),
		"explicit_deny", {"share_receive": "topic"}, "allow",
	],
	"subscribe by the group": [
		document([allow("iot:Subscribe", "topicfilter/a")]), {"client_id": "d"}, request("iot:Subscribe", "topicfilter/$share/g/a"),
		"implicit_deny", {"share_subscribe": "either"}, "allow",
	],
	"a Deny of the filter": [
		document([allow("iot:Subscribe", "topicfilter/*"), deny("iot:Subscribe", "topicfilter/a")]), {"client_id": "d"},
		request("iot:Subscribe", "topicfilter/$share/g/a"),
		"allow", {"share_subscribe": "either"}, "explicit_deny",
	],
	"exclusive thing": [
		document([allow("iot:Publish", "topic/${iot:Connection.Thing.ThingName}")]),
		{"client_id": "d", "thing_name": "t", "thing_attached": true, "thing_exclusive": true}, request("iot:Publish", "topic/t"),
		"allow", {"exclusive_thing": "thing_name"}, "implicit_deny",
	],
	"question mark": [
		document([allow("iot:Publish", "topic/?")]), {"client_id": "d"}, request("iot:Publish", "topic/é"),
		"allow", {"question_mark": "byte"}, "implicit_deny",
	],
	"question marks": [
		document([allow("iot:Publish", "topic/a?? b")]), {"client_id": "d"}, request("iot:Publish", "topic/aé b"),
		"implicit_deny", {"question_mark": "byte"}, "allow",
	],
	"colon": [
		document([{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:iot:*:topic/a"}]), {"client_id": "d"}, request("iot:Publish", "topic/a"),
		"allow", {"colon_wildcard": "within"}, "implicit_deny",
	],
	"case of variables": [
		document([allow("iot:Publish", "topic/${IOT:clientid}")]), {"client_id": "d"}, request("iot:Publish", "topic/d"),
		"allow", {"variable_case": "exact"}, "implicit_deny",
	],
	"variables as AWS writes them": [
		document([allow("iot:Publish", "topic/${iot:Certificate.Subject.CommonName.1}/${iot:ClientId}")]),
		{"client_id": "d", "certificate": {"subject": {"CommonName": ["a", "b"]}}}, request("iot:Publish", "topic/b/d"),
		"allow", {"variable_case": "exact"}, "allow",
	],
	"defaults": [
		document([allow("iot:Publish", "topic/${iot:CertificateId, 'none'}")]), {"client_id": "d"}, request("iot:Publish", "topic/none"),
		"allow", {"variable_defaults": "unknown"}, "implicit_deny",
	],
	"short names": [
		document([allow("iot:Publish", "topic/${iot:Thing.ThingName}")]),
		{"client_id": "t", "thing_name": "t", "thing_attached": true}, request("iot:Publish", "topic/t"),
		"implicit_deny", {"thing_variables": "both"}, "allow",
	],
	"wildcards in a client id": [
		document([allow("iot:Publish", "topic/${iot:ClientId}")]), {"client_id": "a*"}, request("iot:Publish", "topic/a*"),
		"allow", {"client_id_wildcards": "withheld"}, "implicit_deny",
	],
	"backslashes": [
		document([allow("iot:Publish", "topic/${iot:Certificate.Subject.CommonName}")]),
		{"client_id": "d", "certificate": {"subject": {"CommonName": ["a,b=c"]}}}, request("iot:Publish", "topic/a,b=c"),
		"allow", {"certificate_escapes": "escaped"}, "implicit_deny",
	],
	"case of attributes": [
		document([allow("iot:Publish", "topic/${iot:Connection.Thing.Attributes[LINE]}")]),
		{"client_id": "t", "thing_name": "t", "thing_attached": true, "thing_attributes": {"line": "a"}}, request("iot:Publish", "topic/a"),
		"implicit_deny", {"attribute_case": "ignore"}, "allow",
	],
	"time": [
		document([object.union(allow("iot:Publish", "topic/a"), {"Condition": {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}}})]),
		{"client_id": "d", "current_time": "2026-06-01T12:00:00Z"}, request("iot:Publish", "topic/a"),
		"allow", {"time_keys": "unknown"}, "implicit_deny",
	],
}

test_switches[note] if {
	some note, [document, context, request, plain, switches, other] in switched
	outcome(document, context, request, {}) == plain
	outcome(document, context, request, switches) == other
}

test_all_switches_are_tested if {
	{name | some note; some name, _ in switched[note][4]} == {
		"connect_attributes_default", "share_receive", "share_subscribe", "exclusive_thing", "question_mark",
		"colon_wildcard", "variable_case", "variable_defaults", "thing_variables", "client_id_wildcards",
		"certificate_escapes", "attribute_case", "time_keys",
	}
}

test_backslashes_are_put_in if {
	iot.escaped("a,b\"c\\d=e<f>g;h") == "a\\,b\\\"c\\\\d\\=e\\<f\\>g\\;h" with input.switches as {"certificate_escapes": "escaped"}
}

explained(document, context, request) := explanation if {
	explanation := iot.explanation with input as {
		"documents": [{"name": "p", "document": document}],
		"gateway": here,
		"switches": {},
		"context": context,
		"request": request,
	}
}

test_explanation_names_what_is_missing if {
	said := explained(
		document([object.union(allow("iot:Publish", "topic/${iot:ClientId}/${iot:CertificateId}"), {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})]),
		{"client_id": "d"}, request("iot:Publish", "topic/d/x"),
	)
	said.outcome == "implicit_deny"
	said.missing == ["aws:SourceIp", "iot:CertificateId"]
	said.variables == {"iot:ClientId": "d"}
	[statement] := said.statements
	statement.applies == false
	statement.resource.elements[0].resolved == arn("topic/d/${iot:CertificateId}")
	statement.conditions[0].have == []
}

test_explanation_says_what_decided if {
	said := explained(document([deny("iot:Publish", "topic/b"), allow("iot:Publish", "topic/a")]), {"client_id": "d"}, request("iot:Publish", "topic/a"))
	said.allowing == [["p", 1]]
	[statement.applies | some statement in said.statements] == [false, true]
}
