package ebbgate.iot_test

import data.ebbgate.iot

asked(statements, action, name) := decision if {
	document := {"Version": "2012-10-17", "Statement": statements}
	decision := iot.decision with input as {
		"documents": [{"name": "p", "document": document}],
		"gateway": here,
		"context": {"client_id": "dev1"},
		"request": {"action": action, "resource": arn(name)},
	}
}

allow(action, name) := {"Effect": "Allow", "Action": action, "Resource": arn(name)}

deny(action, name) := {"Effect": "Deny", "Action": action, "Resource": arn(name)}

test_nothing_is_allowed_by_itself if asked([], "iot:Publish", "topic/a").outcome == "implicit_deny"

test_allow_names_its_statement if {
	asked([deny("iot:Publish", "topic/b"), allow("iot:Publish", "topic/a")], "iot:Publish", "topic/a") == {
		"outcome": "allow", "allowing": [["p", 1]], "denying": [],
	}
}

test_deny_wins_whatever_the_order if {
	asked([allow("*", "*"), deny("iot:Publish", "topic/a")], "iot:Publish", "topic/a").outcome == "explicit_deny"
	asked([deny("iot:Publish", "topic/a"), allow("*", "*")], "iot:Publish", "topic/a").outcome == "explicit_deny"
}

test_one_statement_need_not_be_a_list if asked(allow("iot:Publish", "topic/a"), "iot:Publish", "topic/a").outcome == "allow"

test_actions[note] if {
	some note, [pattern, action, want] in {
		"case": ["IOT:publish", "iot:Publish", "allow"],
		"prefix": ["iot:Pub*", "iot:Publish", "allow"],
		"prefix misses retain": ["iot:Pub*", "iot:RetainPublish", "implicit_deny"],
		"suffix": ["iot:*Publish", "iot:RetainPublish", "allow"],
		"question": ["iot:Re?eive", "iot:Receive", "allow"],
		"foreign service": ["greengrass:*", "iot:Publish", "implicit_deny"],
	}
	asked([allow(pattern, "topic/a")], action, "topic/a").outcome == want
}

test_not_action_and_not_resource if {
	but := {"Effect": "Allow", "NotAction": "iot:Subscribe", "NotResource": [arn("topic/secret/*")]}
	asked([but], "iot:Publish", "topic/a").outcome == "allow"
	asked([but], "iot:Subscribe", "topic/a").outcome == "implicit_deny"
	asked([but], "iot:Publish", "topic/secret/a").outcome == "implicit_deny"
}

test_resource_without_value_matches_nothing if {
	open := {"Effect": "Deny", "Action": "*", "Resource": arn("topic/${iot:CertificateId}")}
	asked([allow("*", "*"), open], "iot:Publish", "topic/${iot:CertificateId}").outcome == "allow"
	closed := {"Effect": "Allow", "Action": "*", "NotResource": arn("topic/${iot:CertificateId}")}
	asked([closed], "iot:Publish", "topic/a").outcome == "allow"
}
