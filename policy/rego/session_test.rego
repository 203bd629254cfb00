package ebbgate.iot_test

import data.ebbgate.iot

conditional(effect, condition) := {"Effect": effect, "Action": "*", "Resource": arn("topic/${iot:ClientId}"), "Condition": condition}

set := {"p": {
	"Version": "2012-10-17",
	"Statement": [
		{"Effect": "Allow", "Action": "*", "Resource": "*"},
		conditional("Allow", {"StringEquals": {"iot:ClientId": "dev1"}}),
		conditional("Allow", {"StringEquals": {"iot:ClientId": "dev2"}}),
		conditional("Deny", {"StringEquals": {"iot:ClientId": "dev1"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
		conditional("Deny", {"ArnLike": {"iot:LastWillTopic": arn("topic/${iot:CertificateId}")}}),
	],
}}

prepared := result if {
	result := iot.prepared with input as {
		"documents": [{"name": name, "document": document} | some name, document in set],
		"gateway": here,
	}
}

test_prepared if {
	[statement.index | some statement in prepared.p.conditional] == [1, 2, 3, 4]
	[statement.left | some statement in prepared.p.conditional] == [
		[], [],
		[["IpAddress", "aws:SourceIp"]],
		[["ArnLike", "iot:LastWillTopic"]],
	]
	{part.variable | some part in prepared.p.variables} == {"iot:ClientId", "iot:CertificateId"}
}

held(sessions) := result if {
	result := iot.sessions with input as {"prepared": prepared, "gateway": here, "switches": {}, "sessions": sessions}
}

test_sessions if {
	held([
		{"policies": ["p"], "context": {"client_id": "dev1"}},
		{"policies": [], "context": {"client_id": "dev1"}},
		{"policies": ["p"], "context": {"client_id": "dev2", "certificate": {"id": "c0ffee"}}},
	]) == [
		{
			"variables": {"iot:ClientId": "dev1"},
			"statements": [
				["p", 1, []],
				["p", 3, [["IpAddress", "aws:SourceIp"]]],
				["p", 4, [["ArnLike", "iot:LastWillTopic"]]],
			],
		},
		{"variables": {}, "statements": []},
		{
			"variables": {"iot:ClientId": "dev2", "iot:CertificateId": "c0ffee"},
			"statements": [["p", 2, []], ["p", 4, [["ArnLike", "iot:LastWillTopic"]]]],
		},
	]
}
