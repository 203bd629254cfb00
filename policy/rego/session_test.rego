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
	prepared.p.variables == {"iot:ClientId", "iot:CertificateId"}
}

test_session if {
	session := iot.session with data.documents as prepared
		with input as {"policies": ["p"], "context": {"client_id": "dev1"}}
	session.variables == {"iot:ClientId": "dev1"}
	session.statements == [
		["p", 1, []],
		["p", 3, [["IpAddress", "aws:SourceIp"]]],
		["p", 4, [["ArnLike", "iot:LastWillTopic"]]],
	]
}

test_session_of_no_policy if {
	session := iot.session with data.documents as prepared with input as {"policies": [], "context": {"client_id": "dev1"}}
	session == {"variables": {}, "statements": []}
}
