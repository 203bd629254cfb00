package ebbgate.iot

# Keys are written without regard to case, except for what stands in
# brackets: AWS keeps the case of attribute names.
key_of(text) := concat("", [lower(parts[0][1]), parts[0][2]]) if {
	parts := regex.find_all_string_submatch_n(`(?s)^([^\[]*)(.*)$`, text, 1)
}

# HTTP has neither a client id nor a thing.
mqtt if object.get(input.context, "protocol", "mqtt") != "http"

# The thing of a connection is the one named like the client id, and attached
# to the certificate; when the certificate is bound to one thing exclusively,
# the client id is free.
thing := input.context if {
	mqtt
	input.context.thing_name
	input.context.thing_attached
	associated
}

associated if input.context.thing_name == input.context.client_id

associated if input.context.thing_exclusive

# known(key) are the values of a key that stay the same for a session.
known("iot:clientid") := [input.context.client_id] if mqtt

known("iot:domainname") := [input.context.domain_name]

known("iot:connection.thing.thingname") := [thing.thing_name]

known("iot:connection.thing.thingtypename") := [thing.thing_type]

known("iot:connection.thing.isattached") := ["true"] if thing

known("iot:connection.thing.isattached") := ["false"] if {
	mqtt
	not thing
}

known("iot:certificateid") := [input.context.certificate.id]

known("iot:certificate.serialnumber") := [input.context.certificate.serial]

known("iot:certificate.availablekeys") := sort(object.keys(certificate)) if certificate

known("aws:sourcevpc") := [input.context.source_vpc]

known("aws:sourcevpce") := [input.context.source_vpce]

known("aws:vpcsourceip") := [input.context.vpc_source_ip]

known(key) := [value] if {
	startswith(key, "iot:connection.thing.attributes[")
	name := trim_suffix(trim_prefix(key, "iot:connection.thing.attributes["), "]")
	value := thing.thing_attributes[name]
}

known(key) := [certificate[key][0]]

known(key) := certificate[trim_suffix(key, ".list")] if endswith(key, ".list")

known(key) := [certificate[base][number]] if {
	[[_, base, digit]] := regex.find_all_string_submatch_n(`^(.+)\.([0-4])$`, key, 1)
	number := to_number(digit)
}

# certificate holds the names in subject and issuer by their keys. AWS keeps
# the first five of each.
certificate := {key: array.slice(values, 0, 5) |
	some side in ["subject", "issuer"]
	some name, values in input.context.certificate[side]
	count(values) > 0
	key := concat(".", ["iot:certificate", side, lower(name)])
} if {
	input.context.certificate
}

# asked(key) are the values of a key that belong to the single request. The
# compiled path compares conditions on these keys per packet.
asked("iot:connectattributes") := input.request.connect_attributes

asked("iot:lastwilltopic") := [input.request.last_will_topic]

asked("aws:sourceip") := [input.context.source_ip]

asked("aws:currenttime") := [input.context.current_time]

asked("aws:epochtime") := [sprintf("%d", [floor(time.parse_rfc3339_ns(input.context.current_time) / 1000000000)])]

per_request := {
	"iot:connectattributes", "iot:lastwilltopic", "aws:sourceip", "aws:currenttime", "aws:epochtime",
}

# values(key) is empty for a key that is absent.
values(key) := asked(key) if key in per_request

values(key) := known(key) if not key in per_request

values(key) := [] if {
	key in per_request
	not asked(key)
}

values(key) := [] if {
	not key in per_request
	not known(key)
}

# variable(reference) is the value for "${reference}". Undefined when there is
# none, or when it may not be used in a policy.
variable(text) := variable_value(key_of(text)) if not defaulted(text)

variable(text) := variable_value(key_of(defaulted(text)[0])) if defaulted(text)

variable(text) := defaulted(text)[1] if not variable_value(key_of(defaulted(text)[0]))

# defaulted("key, 'text'") is ["key", "text"].
defaulted(text) := [parts[1], parts[2]] if {
	[parts] := regex.find_all_string_submatch_n(`(?s)^(.*?) *, *'([^']*)'$`, text, 1)
}

variable_value(key) := input.context.source_ip if key == "aws:sourceip"

variable_value(key) := value if {
	not many_valued(key)
	[value] := known(key)
	not unusable(key, value)
}

many_valued(key) if endswith(key, ".list")

many_valued("iot:certificate.availablekeys")

# What a certificate says is put in only when it is short and free of the
# characters that mean something in policies, topics and filters.
unusable(key, value) if {
	startswith(key, "iot:certificate.")
	count(value) > 1024
}

unusable(key, value) if {
	startswith(key, "iot:certificate.")
	regex.match(`[*$+?#]`, value)
}
