package ebbgate.iot

# Keys are written without regard to case, except for what stands in
# brackets: AWS keeps the case of attribute names.
key_of(text) := concat("", [long_form(lower(parts[0][1])), parts[0][2]]) if {
	parts := regex.find_all_string_submatch_n(`(?s)^([^\[]*)(.*)$`, text, 1)
}

# long_form("iot:thing.x") is "iot:connection.thing.x", if a switch says so:
# old examples have the short one.
long_form(key) := concat("", ["iot:connection.", trim_prefix(key, "iot:")]) if short_form(key)

long_form(key) := key if not short_form(key)

short_form(key) if {
	input.switches.thing_variables == "both"
	startswith(key, "iot:thing.")
}

# who is what is known about a principal and its connection: input.context, or
# one of many.

# HTTP has neither a client id nor a thing.
mqtt(who) if object.get(who, "protocol", "mqtt") != "http"

# The thing of a connection is the one named like the client id, and attached
# to the certificate; when the certificate is bound to one thing exclusively,
# the client id is free.
has_thing(who) if {
	who.thing_attached
	who.thing_name
	mqtt(who)
	associated(who)
}

associated(who) if who.thing_name == who.client_id

associated(who) if {
	who.thing_exclusive
	not input.switches.exclusive_thing == "thing_name"
}

# known(key, who) are the values of a key that stay the same for a session.
known("iot:clientid", who) := [who.client_id] if mqtt(who)

known("iot:domainname", who) := [who.domain_name]

known("iot:connection.thing.thingname", who) := [who.thing_name] if has_thing(who)

known("iot:connection.thing.thingtypename", who) := [who.thing_type] if has_thing(who)

known("iot:connection.thing.isattached", who) := ["true"] if has_thing(who)

known("iot:connection.thing.isattached", who) := ["false"] if {
	mqtt(who)
	not has_thing(who)
}

known("iot:certificateid", who) := [who.certificate.id]

known("aws:sourcevpc", who) := [who.source_vpc]

known("aws:sourcevpce", who) := [who.source_vpce]

known("aws:vpcsourceip", who) := [who.vpc_source_ip]

known(key, who) := [attribute(name, who)] if {
	startswith(key, "iot:connection.thing.attributes[")
	endswith(key, "]")
	name := trim_suffix(trim_prefix(key, "iot:connection.thing.attributes["), "]")
	has_thing(who)
}

known(key, who) := certified(key, who) if startswith(key, "iot:certificate.")

attribute(name, who) := who.thing_attributes[name] if not input.switches.attribute_case == "ignore"

# Of names that differ in case only, the first in order counts.
attribute(name, who) := who.thing_attributes[alike[0]] if {
	input.switches.attribute_case == "ignore"
	alike := sort([other | some other, _ in who.thing_attributes; lower(other) == lower(name)])
}

certified(key, who) := [certificate(who)[key][0]]

certified(key, who) := certificate(who)[trim_suffix(key, ".list")] if endswith(key, ".list")

certified(key, who) := [certificate(who)[base][number]] if {
	[[_, base, digit]] := regex.find_all_string_submatch_n(`^(.+)\.([0-4])$`, key, 1)
	number := to_number(digit)
}

certified("iot:certificate.serialnumber", who) := [who.certificate.serial]

certified("iot:certificate.availablekeys", who) := sort(object.keys(certificate(who)))

# certificate(who) holds the names in subject and issuer by their keys. AWS
# keeps the first five of each.
certificate(who) := {key: array.slice(values, 0, 5) |
	some side in ["subject", "issuer"]
	some name, values in who.certificate[side]
	count(values) > 0
	key := concat(".", ["iot:certificate", side, lower(name)])
} if {
	who.certificate
}

# asked(key, request, who) are the values of a key that belong to the single
# request. The compiled path compares conditions on these keys per packet.
asked("iot:connectattributes", request, _) := request.connect_attributes

asked("iot:lastwilltopic", request, _) := [request.last_will_topic]

# The topic of a direct message, as it is, not as an ARN.
asked("iot:topic", request, _) := [request.topic]

asked("aws:sourceip", _, who) := [who.source_ip]

asked("aws:currenttime", request, who) := [now(request, who)] if not timeless

asked("aws:epochtime", request, who) := [sprintf("%d", [instant(now(request, who))[0]])] if {
	not timeless
}

timeless if input.switches.time_keys == "unknown"

# A request may have a time of its own.
now(request, _) := request.current_time

now(request, who) := who.current_time if not request.current_time

per_request := {
	"iot:connectattributes", "iot:lastwilltopic", "iot:topic", "aws:sourceip", "aws:currenttime", "aws:epochtime",
}

# values(key, request, who) is empty for a key that is absent.
values(key, request, who) := asked(key, request, who) if {
	key in per_request
} else := known(key, who) if {
	not key in per_request
} else := []

# variable(text, who) is the value for "${text}". Undefined when there is none,
# or when it may not be used in a policy.
variable(text, who) := referred(reference(text), who)

# reference(text) takes what stands between the braces apart.
reference(text) := {"variable": text, "key": spelled(text)} if not defaulted(text)

reference(text) := {"variable": text, "key": spelled(defaulted(text)[0]), "default": defaulted(text)[1]} if {
	defaulted(text)
}

# defaulted("key, 'text'") is ["key", "text"].
defaulted(text) := [parts[1], parts[2]] if {
	not input.switches.variable_defaults == "unknown"
	[parts] := regex.find_all_string_submatch_n(`(?s)^(.*?) *, *'([^']*)'$`, text, 1)
}

# spelled(text) is the key of a variable, empty where a switch wants the
# variable as AWS writes it and it is not.
spelled(text) := key_of(text) if not misspelled(text)

spelled(text) := "" if misspelled(text)

misspelled(text) if {
	input.switches.variable_case == "exact"
	not regex.match(canonical, text)
}

canonical := concat("", [
	`^(iot:(ClientId|DomainName|CertificateId)|aws:(SourceIp|SourceVpc|SourceVpce|VpcSourceIp)`,
	`|iot:(Connection\.)?Thing\.(ThingName|ThingTypeName|IsAttached|Attributes\[.*\])`,
	`|iot:Certificate\.(SerialNumber|AvailableKeys|(Subject|Issuer)\.(DistinguishedNameQualifier|Country|Organization`,
	`|OrganizationalUnit|State|CommonName|SerialNumber|Title|Surname|GivenName|Initials|Pseudonym|GenerationQualifier`,
	`|AlternativeName\.(RFC822Name|DNSName|DirectoryName|UniformResourceIdentifier|IPAddress))(\.[0-9]|\.List)?))$`,
])

referred(reference, who) := value if {
	value := variable_value(reference.key, who)
} else := reference["default"]

variable_value("aws:sourceip", who) := who.source_ip

variable_value(key, who) := value if {
	not startswith(key, "iot:certificate.")
	[value] := known(key, who)
	not withheld(key, value)
}

variable_value(key, who) := escaped(value) if {
	startswith(key, "iot:certificate.")
	not many_valued(key)
	[value] := known(key, who)
	not unfit(value)
}

many_valued(key) if endswith(key, ".list")

many_valued("iot:certificate.availablekeys")

# What a certificate says is put in only when it is short and free of the
# characters that mean something in policies, topics and filters.
unfit(value) if count(value) > 1024

unfit(value) if regex.match(`[*$+?#]`, value)

withheld("iot:clientid", value) if {
	input.switches.client_id_wildcards == "withheld"
	regex.match(`[*?]`, value)
}

escaped(value) := regex.replace(value, `[,"\\+=<>;]`, `\${0}`) if {
	input.switches.certificate_escapes == "escaped"
} else := value
