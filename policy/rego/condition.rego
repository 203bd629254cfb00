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
	some key, raw_values in keys
	test := object.get(negations, base, base)
	operands := [operand(family(base), key_of(key), text(value), version, test) | some value in list(raw_values)]
	condition := object.union(without_variables(test, operands), {
		"operator": operator,
		"name": key,
		"key": key_of(key),
		"version": version,
		"quantifier": quantifier,
		"test": test,
		"negated": base in object.keys(negations),
		"if_exists": exists != "",
		"values": operands,
	})
]

# without_variables(test, operands) is {"ready": …} when they are the same for
# all sessions.
without_variables(test, operands) := {"ready": ready_for(test, operands, {})} if not use_variables(test, operands)

without_variables(test, operands) := {} if use_variables(test, operands)

use_variables(test, operands) if {
	some value in operands
	has_variables(operand_tokens(test, value))
}

# Numbers and booleans may stand without quotes.
text(value) := value if is_string(value)

text(value) := json.marshal(value) if not is_string(value)

# Variables are read by string and ARN operators only.
operand("string", key, value, version, test) := tokens(local(key, value, test == "StringLike"), version)

operand("arn", _, value, version, _) := arn(value, version)

operand("other", _, value, _, _) := value

family(base) := "string" if startswith(base, "String")

family(base) := "arn" if startswith(base, "Arn")

family(base) := "other" if {
	not startswith(base, "String")
	not startswith(base, "Arn")
}

# operand_tokens(test, value) are the parts of an operand that may be
# variables.
operand_tokens(test, value) := value if family(test) == "string"

operand_tokens(test, value) := object.get(value, "name", []) if family(test) == "arn"

operand_tokens(test, _) := [] if family(test) == "other"

# satisfied(condition, request, who) says whether a condition holds for the
# values that its key has.
satisfied(condition, request, who) if {
	have := values(condition.key, request, who)
	holds(condition, have, who)
}

holds(condition, [], _) if {
	condition.test == "Null"
	"true" in {lower(value) | some value in condition.values}
}

holds(condition, have, _) if {
	condition.test == "Null"
	count(have) > 0
	"false" in {lower(value) | some value in condition.values}
}

# An absent key fails a positive operator and satisfies a negated one.
holds(condition, [], _) if {
	condition.test != "Null"
	absent_passes(condition)
}

# The values of a positive operator are alternatives, those of a negated one
# are all excluded. Without a quantifier a key has one value; where it has
# several, any will do.
holds(condition, have, who) if {
	condition.test != "Null"
	count(have) > 0
	fitting := {place |
		some place, value in have
		some want in wanted(condition, who)
		compare(condition.test, value, want)
	}
	enough(condition.quantifier, condition.negated, count(fitting), count(have))
}

enough("ForAllValues", false, fitting, all) if fitting == all

enough("ForAllValues", true, 0, _)

enough(quantifier, false, fitting, _) if {
	quantifier != "ForAllValues"
	fitting > 0
}

enough(quantifier, true, fitting, all) if {
	quantifier != "ForAllValues"
	fitting < all
}

absent_passes(condition) if condition.if_exists

absent_passes(condition) if condition.quantifier == "ForAllValues"

absent_passes(condition) if {
	condition.negated
	condition.quantifier == ""
}

# wanted(condition, who) are its operands for a session, ready to be compared.
# One with a variable that has no value is not among them: it fits nothing.
wanted(condition, who) := condition.ready if {
	condition.ready
} else := ready_for(condition.test, condition.values, who)

ready_for(test, operands, who) := [want |
	some value in operands
	want := ready(test, value, who)
]

ready("StringEquals", value, who) := plain(resolved(value, who))

ready("StringEqualsIgnoreCase", value, who) := lower(plain(resolved(value, who)))

ready("StringLike", value, who) := either_of([glob(resolved(value, who), any)])

ready("ArnEquals", value, who) := arn_pattern(value, who)

ready("ArnLike", value, who) := arn_pattern(value, who)

ready("Bool", value, _) := lower(value)

ready("BinaryEquals", value, _) := base64.decode(value)

ready("IpAddress", value, _) := network(value)

ready(test, value, _) := number(value) if startswith(test, "Numeric")

ready(test, value, _) := instant(value) if startswith(test, "Date")

arn_pattern(value, who) := either_of([concat("", [value.head, glob(resolved(value.name, who), any)])])

compare("StringEquals", have, want) if have == want

compare("StringEqualsIgnoreCase", have, want) if lower(have) == want

compare("StringLike", have, want) if regex.match(want, subject(have))

compare("ArnEquals", have, want) if regex.match(want, subject(have))

compare("ArnLike", have, want) if regex.match(want, subject(have))

compare("Bool", have, want) if lower(have) == want

compare("BinaryEquals", have, want) if base64.decode(have) == want

compare("IpAddress", have, want) if {
	not contains(have, "/")
	net.cidr_contains(want, have)
}

compare("NumericEquals", have, want) if number(have) == want

compare("NumericLessThan", have, want) if number(have) < want

compare("NumericLessThanEquals", have, want) if number(have) <= want

compare("NumericGreaterThan", have, want) if number(have) > want

compare("NumericGreaterThanEquals", have, want) if number(have) >= want

compare("DateEquals", have, want) if instant(have) == want

compare("DateLessThan", have, want) if instant(have) < want

compare("DateLessThanEquals", have, want) if instant(have) <= want

compare("DateGreaterThan", have, want) if instant(have) > want

compare("DateGreaterThanEquals", have, want) if instant(have) >= want

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

# instant reads a date, a month, a time of day with its zone, or seconds since
# 1970. It gives seconds and nanoseconds: pairs are ordered as instants are.
instant(text) := moment(text) if {
	regex.match(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$`, text)
}

instant(text) := moment(concat("", [minute, ":00", zone])) if {
	[[_, minute, zone]] := regex.find_all_string_submatch_n(`^(\d{4}-\d\d-\d\dT\d\d:\d\d)(Z|[+-]\d\d:\d\d)$`, text, 1)
}

instant(text) := moment(concat("", [text, "T00:00:00Z"])) if regex.match(`^\d{4}-\d\d-\d\d$`, text)

instant(text) := moment(concat("", [text, "-01T00:00:00Z"])) if regex.match(`^\d{4}-\d\d$`, text)

instant(text) := [to_number(text), 0] if {
	regex.match(`^[1-9][0-9]{0,11}$`, text)
	to_number(text) <= 253402300799 # the end of the year 9999
}

# The calendar repeats every 400 years, and nanoseconds count 584 years only: a
# time is read in its place between 1700 and 2099, and moved.
moment(text) := [((ns - rest) / 1000000000) + (cycles * 12622780800), rest] if {
	year := to_number(concat("", ["1", substring(text, 0, 4)])) - 10000
	cycles := floor((year - 1700) / 400)
	ns := time.parse_rfc3339_ns(concat("", [sprintf("%d", [year - (cycles * 400)]), substring(text, 4, -1)]))
	rest := ((ns % 1000000000) + 1000000000) % 1000000000
}
