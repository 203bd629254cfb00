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

token(part) := reference(name) if {
	not escapes[part]
	name := braced(part)
}

token(part) := {"literal": part} if {
	not part in wildcards
	not braced(part)
}

token_2008(part) := {"wildcard": part} if part in wildcards

token_2008(part) := {"literal": part} if not part in wildcards

# braced("${name}") is "name".
braced(part) := trim_suffix(trim_prefix(part, "${"), "}") if {
	startswith(part, "${")
	endswith(part, "}")
}

# resolved(tokens, who) puts the values of variables in as literals, in one pass:
# what a value contains is never looked at again. Undefined when a variable
# has no value; such an element matches nothing.
resolved(parts, who) := result if {
	result := [literal |
		some part in parts
		literal := value_of(part, who)
	]
	count(result) == count(parts)
}

value_of(part, who) := {"literal": referred(part, who)} if part.variable

value_of(part, _) := part if not part.variable

# plain(tokens) is the text in which wildcards are ordinary characters.
plain(parts) := concat("", [text |
	some part in parts
	text := object.get(part, "literal", object.get(part, "wildcard", ""))
])

# A pattern becomes a regular expression: RE2 counts code points and never
# backtracks. Where a "?" is a byte, the expression is about hexadecimal.
any := "." if not bytewise

any := "(?:..)" if bytewise

any_but_colon := "[^:]" if not bytewise

any_but_colon := "(?:[^3].|3[^a])" if bytewise

bytewise if input.switches.question_mark == "byte"

# subject(text) is what an expression is compared with.
subject(text) := text if not bytewise

subject(text) := hex.encode(text) if bytewise

quote(text) := regex.replace(text, `[\\.+*?()|\[\]{}^$]`, `\${0}`) if not bytewise

quote(text) := hex.encode(text) if bytewise

# glob(tokens, any) is the expression of a pattern; any is what one wildcard
# character stands for.
glob(parts, one) := concat("", [expression(part, one) | some part in parts])

expression(part, _) := quote(part.literal)

expression(part, one) := one if part.wildcard == "?"

expression(part, one) := concat("", [one, "*"]) if part.wildcard == "*"

# either_of(expressions) takes the whole of a text that one of them takes.
either_of(expressions) := concat("", ["(?s)^(?:", concat("|", expressions), ")$"])

# resource(text, version) prepares a Resource element: its first five fields
# make an expression at once, variables are read only behind the fifth colon.
# Without variables it is one pattern.
resource("*", _) := {"name": [], "pattern": concat("", [any, "*"])}

resource(text, version) := element if {
	text != "*"
	parts := fields(text)
	behind := {index | some index, _ in parts; some before in array.slice(parts, 0, index); runs_on(before)}
	heads := [run_on(index, part, index in behind) | some index, part in array.slice(parts, 0, 5)]
	last := ["" | count(parts) == 6] # the fifth colon
	head := concat(quote(":"), array.concat(heads, last))
	name := [t | count(parts) == 6; some t in tokens(parts[5], version)]
	element := with_head(head, name)
}

with_head(head, name) := {"name": name, "pattern": concat("", [head, glob(name, any)])} if {
	not has_variables(name)
}

with_head(head, name) := {"name": name, "head": head} if has_variables(name)

has_variables(parts) if {
	some part in parts
	part.variable
}

# element_pattern(element, who) is its expression for a session. Undefined when
# a variable has no value.
element_pattern(element, _) := element.pattern

element_pattern(element, who) := concat("", [element.head, glob(resolved(element.name, who), any)])

covers(element, arn, who) if regex.match(either_of([element_pattern(element, who)]), subject(arn))

# fields(text) cuts an ARN at its first five colons.
fields(text) := array.concat(array.slice(parts, 0, 5), rest) if {
	parts := split(text, ":")
	rest := [concat(":", array.slice(parts, 5, count(parts))) | count(parts) > 5]
}

# run_on(index, part) is the expression of one of the first five fields of a
# resource. A wildcard stays within its field, except that a "*" at the end of
# the field may run past the colon.
run_on(index, part, behind) := field(place(index, part, behind)) if not runs_on(part)

run_on(index, part, behind) := concat("", [field(place(index, trim_suffix(part, "*"), behind)), any, "*"]) if runs_on(part)

# place(index, part, behind) is compared. Behind a field that may run past its
# colon, not the place says what a field is, but its look.
place(index, part, false) := compared(index, part)

place(_, part, true) := "" if unplaced(part)

place(_, part, true) := part if not unplaced(part)

unplaced(part) if {
	input.gateway.region == ""
	regex.match(`^[a-z]{2}[a-z]*-[a-z0-9*?-]*$`, part)
}

unplaced(part) if {
	input.gateway.account == ""
	regex.match(`^[0-9?*]*[0-9][0-9?*]*$`, part)
}

runs_on(part) if {
	endswith(part, "*")
	not input.switches.colon_wildcard == "within"
}

field(part) := glob(tokens(part, "2008-10-17"), any_but_colon)

# compared(index, part) is empty where the gateway has no partition, region or
# account of its own: the ARNs of its requests are empty there too.
# What has a slash is none of these.
compared(index, part) := "" if {
	uncompared(index)
	not contains(part, "/")
}

compared(index, part) := part if not uncompared(index)

compared(_, part) := part if contains(part, "/")

uncompared(index) if input.gateway[{1: "partition", 3: "region", 4: "account"}[index]] == ""

# arn(text, version) prepares the value of an ARN operator, which compares the
# six fields one by one.
arn(text, version) := {"head": concat(quote(":"), array.concat(heads, [""])), "name": tokens(parts[5], version)} if {
	parts := fields(text)
	count(parts) == 6
	heads := [field(compared(index, part)) | some index, part in array.slice(parts, 0, 5)]
}

arn(text, _) := {"never": true} if count(fields(text)) != 6

# local(key, text, pattern) is the value of a string operator. The will topic is
# an ARN of this gateway and empty where its ARNs are. In a pattern a "*" at the
# end of a field may run past the colon.
local(key, text, _) := text if key != "iot:lastwilltopic"

local("iot:lastwilltopic", text, pattern) := concat(":", array.concat(heads, array.slice(parts, 5, 6))) if {
	parts := fields(text)
	behind := {index | some index, _ in parts; some before in array.slice(parts, 0, index); open_ended(before, pattern)}
	heads := [local_field(index, part, index in behind, pattern) | some index, part in array.slice(parts, 0, 5)]
}

open_ended(part, true) if endswith(part, "*")

local_field(index, part, behind, pattern) := place(index, part, behind) if not open_ended(part, pattern)

local_field(index, part, behind, pattern) := concat("", [place(index, trim_suffix(part, "*"), behind), "*"]) if open_ended(part, pattern)
