package ebbgate.iot

# tokens(text, version) cuts policy text into literals, wildcards and
# variables. Variables exist in version 2012-10-17 only; before, "${" is text.
tokens(text, "2012-10-17") := [token(part) |
	some part in regex.find_n(`\$\{[^}]*\}|[*?]|[^*?$]+|\$`, text, -1)
]

tokens(text, "2008-10-17") := [token_2008(part) |
	some part in regex.find_n(`[*?]|[^*?]+`, text, -1)
]

wildcards := {"*", "?"}

escapes := {"${*}": "*", "${?}": "?", "${$}": "$"}

token(part) := {"wildcard": part} if part in wildcards

token(part) := {"literal": escapes[part]}

token(part) := {"variable": name} if {
	not part in object.keys(escapes)
	name := reference(part)
}

token(part) := {"literal": part} if {
	not part in wildcards
	not reference(part)
}

token_2008(part) := {"wildcard": part} if part in wildcards

token_2008(part) := {"literal": part} if not part in wildcards

# reference("${name}") is "name".
reference(part) := trim_suffix(trim_prefix(part, "${"), "}") if {
	startswith(part, "${")
	endswith(part, "}")
}

# resolved(tokens) puts the values of variables in as literals, in one pass:
# what a value contains is never looked at again. Undefined when a variable
# has no value; such an element matches nothing.
resolved(parts) := result if {
	result := [literal |
		some part in parts
		literal := value_of(part)
	]
	count(result) == count(parts)
}

value_of(part) := {"literal": variable(part.variable)}

value_of(part) := part if not part.variable

# plain(tokens) is the text in which wildcards are ordinary characters.
plain(parts) := concat("", [text |
	some part in parts
	text := object.get(part, "literal", object.get(part, "wildcard", ""))
])

# glob(tokens) is the regular expression of a pattern; "any" is what one
# wildcard character stands for. RE2 counts code points and never backtracks.
glob(parts, any) := concat("", [expression(part, any) | some part in parts])

expression(part, _) := quote(part.literal)

expression(part, any) := any if part.wildcard == "?"

expression(part, any) := concat("", [any, "*"]) if part.wildcard == "*"

quote(text) := regex.replace(text, `[\\.+*?()|\[\]{}^$]`, `\${0}`)

like(parts, text) if regex.match(concat("", ["(?s)^", glob(parts, "."), "$"]), text)

# resource(text, version) prepares a Resource element: its first five fields
# make an expression at once, variables are read only behind the fifth colon.
resource("*", _) := {"head": ".*", "name": []}

resource(text, version) := {"head": concat(":", array.concat(heads, last)), "name": name} if {
	text != "*"
	parts := fields(text)
	heads := [run_on(index, part) | some index, part in array.slice(parts, 0, 5)]
	last := ["" | count(parts) == 6] # the fifth colon
	name := [t | count(parts) == 6; some t in tokens(parts[5], version)]
}

# fields(text) cuts an ARN at its first five colons.
fields(text) := array.concat(array.slice(parts, 0, 5), rest) if {
	parts := split(text, ":")
	rest := [concat(":", array.slice(parts, 5, count(parts))) | count(parts) > 5]
}

# run_on(index, part) is the expression of one of the first five fields of a
# resource. A wildcard stays within its field, except that a "*" at the end of
# the field may run past the colon.
run_on(index, part) := field(compared(index, part)) if not endswith(part, "*")

run_on(index, part) := concat("", [field(compared(index, trim_suffix(part, "*"))), ".*"]) if endswith(part, "*")

field(part) := glob(tokens(part, "2008-10-17"), "[^:]")

# compared(index, part) is empty where the gateway has no partition, region or
# account of its own: the ARNs of its requests are empty there too.
compared(index, _) := "" if uncompared(index)

compared(index, part) := part if not uncompared(index)

uncompared(index) if input.gateway[{1: "partition", 3: "region", 4: "account"}[index]] == ""

covers(element, arn) if {
	name := glob(resolved(element.name), ".")
	regex.match(concat("", ["(?s)^", element.head, name, "$"]), arn)
}

# arn(text, version) prepares the value of an ARN operator, which compares the
# six fields one by one.
arn(text, version) := {"head": concat(":", heads), "name": tokens(parts[5], version)} if {
	parts := fields(text)
	count(parts) == 6
	heads := [field(compared(index, part)) | some index, part in array.slice(parts, 0, 5)]
}

arn(text, _) := {"never": true} if count(fields(text)) != 6

arn_like(element, arn) if {
	name := glob(resolved(element.name), ".")
	regex.match(concat("", ["(?s)^", element.head, ":", name, "$"]), arn)
}

# local(key, text) is the value of a string operator. The will topic is an ARN
# of this gateway and empty where its ARNs are.
local(key, text) := concat(":", [compared(index, part) | some index, part in fields(text)]) if {
	key == "iot:lastwilltopic"
	count(fields(text)) == 6
}

local(key, text) := text if key != "iot:lastwilltopic"

local(_, text) := text if count(fields(text)) != 6
