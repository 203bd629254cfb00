package ebbgate.iot_test

import data.ebbgate.iot

holds(operator, key, values, request) if {
	statement := {"Condition": {operator: {key: values}}}
	conditions := iot.conditions(statement, "2012-10-17") with input.gateway as here
	every condition in conditions {
		iot.satisfied(condition, request, {
			"client_id": "dev1",
			"source_ip": "10.1.2.3",
			"current_time": "2026-06-01T12:00:00Z",
		}) with input.gateway as here
	}
}

attributes(list) := {"connect_attributes": list}

test_set_operators[note] if {
	some note, [operator, values, have, want] in {
		"all of none": ["ForAllValues:StringEquals", ["P"], [], true],
		"all of some": ["ForAllValues:StringEquals", ["P", "L"], ["P"], true],
		"all of more": ["ForAllValues:StringEquals", ["P"], ["P", "L"], false],
		"all of an empty list": ["ForAllValues:StringEquals", [], ["P"], false],
		"all not": ["ForAllValues:StringNotEquals", ["P"], ["L"], true],
		"any of none": ["ForAnyValue:StringEquals", ["P"], [], false],
		"any not of none": ["ForAnyValue:StringNotEquals", ["P"], [], false],
		"any": ["ForAnyValue:StringEquals", ["P"], ["L", "P"], true],
		"any not": ["ForAnyValue:StringNotEquals", ["P"], ["L", "P"], true],
		"plain is any": ["StringEquals", ["P"], ["L", "P"], true],
		"any if exists": ["ForAnyValue:StringEqualsIfExists", ["P"], [], true],
		"case counts": ["ForAnyValue:StringEquals", ["p"], ["P"], false],
		"case ignored": ["ForAnyValue:StringEqualsIgnoreCase", ["p"], ["P"], true],
		"null": ["Null", "true", [], true],
		"not null": ["Null", ["false"], ["P"], true],
	}
	results := [true | holds(operator, "iot:ConnectAttributes", values, attributes(have))]
	count(results) == count([true | want])
}

test_operators[note] if {
	some note, [operator, key, values, want] in {
		"like": ["StringLike", "iot:ClientId", "dev?", true],
		"equals takes star literally": ["StringEquals", "iot:ClientId", "dev*", false],
		"not equals is nor": ["StringNotEquals", "iot:ClientId", ["x", "dev1"], false],
		"key case": ["StringEquals", "IOT:CLIENTID", "dev1", true],
		"variable": ["StringEquals", "iot:ClientId", "${iot:ClientId}", true],
		"variable without value": ["StringEquals", "iot:ClientId", "${iot:CertificateId}", false],
		"variable without value, negated": ["StringNotEquals", "iot:ClientId", "${iot:CertificateId}", true],
		"absent": ["StringEquals", "iot:CertificateId", "x", false],
		"absent, negated": ["StringNotEquals", "iot:CertificateId", "x", true],
		"absent, if exists": ["StringEqualsIfExists", "iot:CertificateId", "x", true],
		"address in block": ["IpAddress", "aws:SourceIp", ["192.168.0.0/16", "10.0.0.0/8"], true],
		"address": ["IpAddress", "aws:SourceIp", "10.1.2.3", true],
		"address of another family": ["IpAddress", "aws:SourceIp", "::/0", false],
		"not address": ["NotIpAddress", "aws:SourceIp", "10.0.0.0/8", false],
		"bool": ["Bool", "iot:Connection.Thing.IsAttached", "FALSE", true],
		"bool without quotes": ["Bool", "iot:Connection.Thing.IsAttached", false, true],
		"after": ["DateGreaterThan", "aws:CurrentTime", "2026-06-01", true],
		"before": ["DateLessThan", "aws:CurrentTime", "2026-06-01T12:00Z", false],
		"at": ["DateEquals", "aws:CurrentTime", "2026-06-01T14:00:00+02:00", true],
		"epoch": ["NumericGreaterThan", "aws:EpochTime", 1780000000, true],
		"not a number": ["NumericEquals", "iot:ClientId", "1", false],
		"not a number, negated": ["NumericNotEquals", "iot:ClientId", "1", true],
		"binary": ["BinaryEquals", "iot:ClientId", "dev1", true],
	}
	results := [true | holds(operator, key, values, {})]
	count(results) == count([true | want])
}

test_topic_of_a_direct_message if {
	request := {"topic": "commands/reboot"}
	holds("StringEquals", "iot:Topic", "commands/reboot", request)
	holds("StringLike", "iot:Topic", "commands/*", request)
	not holds("StringEquals", "iot:Topic", "commands/*", request)
	not holds("StringLike", "iot:Topic", "*", {})
	holds("StringNotLike", "iot:Topic", "*", {})
	holds("StringLikeIfExists", "iot:Topic", "commands/*", {})
}

test_will_topic if {
	request := {"last_will_topic": arn("topic/wills/dev1")}
	holds("ArnEquals", "iot:LastWillTopic", arn("topic/wills/*"), request)
	holds("ArnLike", "iot:LastWillTopic", arn("topic/wills/${iot:ClientId}"), request)
	not holds("StringEquals", "iot:LastWillTopic", arn("topic/wills/*"), request)
	not holds("ArnEquals", "iot:LastWillTopic", arn("topic/wills/*"), {})
	holds("ArnNotLike", "iot:LastWillTopic", arn("topic/wills/*"), {})
	holds("ArnNotLikeIfExists", "iot:LastWillTopic", arn("topic/wills/*"), {})
}

test_instants if {
	iot.instant("1970-01-01T00:00:00.000000001Z") == [0, 1]
	iot.instant("1969-12-31T23:59:59.999999999Z") == [-1, 999999999]
	iot.instant("2027-06") == [1811808000, 0]
	iot.instant("2027-06-01T12:00+02:00") == [1811844000, 0]
	iot.instant("0000-03-01") == [-62162035200, 0]
	iot.instant("9999-12-31T23:59:59.5Z") == [253402300799, 500000000]
	iot.instant("253402300799") == [253402300799, 0]
	not iot.instant("253402300800")
	not iot.instant("1900-02-29")
	not iot.instant("10000-01-01")
	iot.instant("9999-12-31T23:59:59.000000001Z") > iot.instant("9999-12-31T23:59:59Z")
}
