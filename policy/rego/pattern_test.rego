package ebbgate.iot_test

import data.ebbgate.iot

here := {"partition": "aws", "region": "us-east-1", "account": "123456789012"}

nowhere := {"partition": "", "region": "", "account": ""}

arn(name) := concat("", ["arn:aws:iot:us-east-1:123456789012:", name])

covers(pattern, have) if iot.covers(iot.resource(pattern, "2012-10-17"), have, {}) with input.gateway as here

test_wildcards[note] if {
	some note, [pattern, name, fits] in {
		"star crosses levels": ["topic/a/*/c", "topic/a/b/b/c", true],
		"star matches nothing": ["topic/a*", "topic/a", true],
		"slash before star counts": ["topic/a/*", "topic/a", false],
		"question is one": ["topic/a?", "topic/ab", true],
		"question is not none": ["topic/a?", "topic/a", false],
		"question is a code point": ["topic/?", "topic/😀", true],
		"question takes a slash": ["topic/a?b", "topic/a/b", true],
		"plus is a plus": ["topicfilter/+", "topicfilter/x", false],
		"hash is a hash": ["topicfilter/#", "topicfilter/#", true],
		"dot is a dot": ["topic/a.b", "topic/axb", false],
		"no classes": ["topic/[ab]", "topic/a", false],
		"case counts": ["topic/A", "topic/a", false],
		"several stars": ["topic/a/*/c/*/e", "topic/a/b/c/c/d/e/e", true],
		"escaped star": ["topic/${*}", "topic/*", true],
		"escaped star is literal": ["topic/${*}", "topic/a", false],
		"escaped dollar": ["topic/${$}aws", "topic/$aws", true],
		"open brace": ["topic/${a", "topic/${a", true],
	}
	results := [true | covers(arn(pattern), arn(name))]
	count(results) == count([true | fits])
}

test_arns[note] if {
	some note, [pattern, fits] in {
		"everything": ["*", true],
		"other partition": ["arn:aws-cn:iot:us-east-1:123456789012:topic/x", false],
		"other region": ["arn:aws:iot:eu-west-1:123456789012:topic/x", false],
		"other account": ["arn:aws:iot:us-east-1:111111111111:topic/x", false],
		"part of a region": ["arn:aws:iot:us-*-1:123456789012:topic/x", true],
		"star runs on at the end of a field": ["arn:aws:iot:*:topic/x", true],
		"star does not run on within a field": ["arn:aws:iot:us-*2:topic/x", false],
		"short": ["arn:aws:iot:us-east-1:*", true],
		"empty fields": ["arn:aws:iot:::topic/x", false],
	}
	results := [true | covers(pattern, arn("topic/x"))]
	count(results) == count([true | fits])
}

test_fields_of_no_gateway_are_not_compared if {
	resource := iot.resource("arn:aws:iot:eu-west-1:111111111111:topic/x", "2012-10-17") with input.gateway as nowhere
	iot.covers(resource, "arn::iot:::topic/x", {}) with input.gateway as nowhere
}

test_star_of_an_account_reaches_into_the_topic if {
	covers("arn:aws:iot:*:*:topic/public/*", arn("topic/secret/x:topic/public/y"))
}

test_one_pass if {
	tokens := iot.tokens("${iot:ClientId}", "2012-10-17")
	iot.resolved(tokens, {"client_id": "${iot:ClientId}*"}) == [{"literal": "${iot:ClientId}*"}]
}

test_2008_has_no_variables if {
	iot.tokens("a${*}", "2008-10-17") == [{"literal": "a${"}, {"wildcard": "*"}, {"literal": "}"}]
}

arn_like(pattern, have) if {
	regex.match(iot.arn_pattern(iot.arn(pattern, "2012-10-17"), {}), have) with input.gateway as here
}

test_arn_operator_compares_fields if {
	arn_like(arn("topic/*"), arn("topic/a:b"))
	not arn_like(arn("topic/*"), arn("topicfilter/a"))
	not arn_like(arn("topic/*"), "topic/a")
	not arn_like("arn:aws:iot:*", arn("topic/a"))
}
