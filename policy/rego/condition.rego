package ebbgate.iot

# negations maps a negated operator to the one that it negates.
negations := {
	"StringNotEquals": "StringEquals",
	"StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
	"StringNotLike": "StringLike",
	"NumericNotEquals": "NumericEquals",
	"DateNotEquals": "DateEquals",
	"NotIpAddress": "IpAddress",
	"ArnNotEquals": "ArnEquals",
	"ArnNotLike": "ArnLike",
}

# conditions(raw, version) lists the conditions of a statement in one shape.
conditions(raw, version) := [condition |
	some operator, keys in object.get(raw, "Condition", {})
	[[_, quantifier, base, exists]] := regex.find_all_string_submatch_n(
		`^(?:(ForAllValues|ForAnyValue):)?(\w+?)(IfExists)?$`,
		operator, 1,
	)
	some key, values in keys
	condition := {
		"operator": operator,
		"name": key,
		"key": key_of(key),
		"quantifier": quantifier,
		"test": object.get(negations, base, base),
		"negated": base in object.keys(negations),
		"if_exists": exists != "",
		"values": [operand(family(base), key_of(key), text(value), version) | some value in list(values)],
	}
]

# Numbers and booleans may stand without quotes.
text(value) := value if is_string(value)

text(value) := json.marshal(value) if not is_string(value)

# Variables are read by string and ARN operators only.
operand("string", key, value, version) := tokens(local(key, value), version)

operand("arn", _, value, version) := arn(value, version)

operand("other", _, value, _) := value

family(base) := "string" if startswith(base, "String")

family(base) := "arn" if startswith(base, "Arn")

family(base) := "other" if not regex.match(`^(String|Arn)`, base)

satisfied(condition) if {
	condition.test == "Null"
	some value in condition.values
	null_test(lower(value), values(condition.key))
}

# An absent key fails a positive operator and satisfies a negated one.
satisfied(condition) if {
	condition.test != "Null"
	count(values(condition.key)) == 0
	absent_passes(condition)
}

satisfied(condition) if {
	condition.quantifier == "ForAllValues"
	every have in values(condition.key) {
		passes(condition, have)
	}
}

# Without a quantifier a key has one value; where it has several, any will do.
satisfied(condition) if {
	condition.test != "Null"
	condition.quantifier != "ForAllValues"
	some have in values(condition.key)
	passes(condition, have)
}

null_test("true", have) if count(have) == 0

null_test("false", have) if count(have) > 0

absent_passes(condition) if condition.if_exists

absent_passes(condition) if {
	condition.negated
	condition.quantifier == ""
}

# The values of a positive operator are alternatives, those of a negated one
# are all excluded.
passes(condition, have) if {
	not condition.negated
	equal_to_one(condition, have)
}

passes(condition, have) if {
	condition.negated
	not equal_to_one(condition, have)
}

equal_to_one(condition, have) if {
	some want in condition.values
	compare(condition.test, have, want)
}

compare("StringEquals", have, want) if have == plain(resolved(want))

compare("StringEqualsIgnoreCase", have, want) if lower(have) == lower(plain(resolved(want)))

compare("StringLike", have, want) if like(resolved(want), have)

compare("ArnEquals", have, want) if arn_like(want, have)

compare("ArnLike", have, want) if arn_like(want, have)

compare("Bool", have, want) if lower(have) == lower(want)

compare("BinaryEquals", have, want) if base64.decode(have) == base64.decode(want)

compare("IpAddress", have, want) if {
	not contains(have, "/")
	net.cidr_contains(network(want), have)
}

compare("NumericEquals", have, want) if number(have) == number(want)

compare("NumericLessThan", have, want) if number(have) < number(want)

compare("NumericLessThanEquals", have, want) if number(have) <= number(want)

compare("NumericGreaterThan", have, want) if number(have) > number(want)

compare("NumericGreaterThanEquals", have, want) if number(have) >= number(want)

compare("DateEquals", have, want) if instant(have) == instant(want)

compare("DateLessThan", have, want) if instant(have) < instant(want)

compare("DateLessThanEquals", have, want) if instant(have) <= instant(want)

compare("DateGreaterThan", have, want) if instant(have) > instant(want)

compare("DateGreaterThanEquals", have, want) if instant(have) >= instant(want)

network(text) := text if contains(text, "/")

network(text) := concat("", [text, "/32"]) if {
	not contains(text, "/")
	not contains(text, ":")
}

network(text) := concat("", [text, "/128"]) if {
	not contains(text, "/")
	contains(text, ":")
}

# number reads a decimal of up to 15 characters.
number(text) := to_number(regex.replace(text, `^(-?)0+([0-9])`, `${1}${2}`)) if {
	regex.match(`^-?[0-9]+(\.[0-9]+)?$`, text)
	count(trim_prefix(text, "-")) <= 15
}

# instant reads a date, a time of day with its zone, or seconds since 1970,
# and gives nanoseconds.
instant(text) := time.parse_rfc3339_ns(text) if {
	regex.match(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$`, text)
}

instant(text) := time.parse_rfc3339_ns(concat("", [minute, ":00", zone])) if {
	[[_, minute, zone]] := regex.find_all_string_submatch_n(`^(\d{4}-\d\d-\d\dT\d\d:\d\d)(Z|[+-]\d\d:\d\d)$`, text, 1)
}

instant(text) := time.parse_rfc3339_ns(concat("", [text, "T00:00:00Z"])) if {
	regex.match(`^\d{4}-\d\d-\d\d$`, text)
}

instant(text) := to_number(text) * 1000000000 if {
	regex.match(`^[1-9][0-9]{0,9}$`, text)
	to_number(text) < 9000000000
}
