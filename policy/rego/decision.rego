package ebbgate.iot

# decision answers input.request for input.context by input.documents, a list
# of {"name", "document"} as AWS writes them, at the gateway of input.gateway.
# Every statement of every document counts alike; a Deny that applies wins.
decision := decided([input.request], input.context)[0]

# decisions answers several requests of one context.
decisions := decided(input.requests, input.context)

decided(requests, who) := [answer |
	some request in requests
	subjects := [subject(arn) | some arn in resources_asked(request)]
	applying := {candidate.at |
		some candidate in candidates(request.action, who)
		some text in subjects
		regex.match(candidate.pattern, text) != candidate.not_resource
		every condition in candidate.conditions {
			satisfied(condition, request, who)
		}
	}
	allowing := [[statement.policy, statement.index] |
		some at in applying
		statement := all_statements[at]
		statement.effect == "Allow"
	]
	denying := [[statement.policy, statement.index] |
		some at in applying
		statement := all_statements[at]
		statement.effect == "Deny"
	]
	answer := {
		"outcome": outcomes[count(denying) > 0][count(allowing) > 0],
		"allowing": allowing,
		"denying": denying,
	}
]

# outcomes by whether a Deny and whether an Allow applies.
outcomes := {
	true: {true: "explicit_deny", false: "explicit_deny"},
	false: {true: "allow", false: "implicit_deny"},
}

# Statements that are in one shape already may be given instead of documents.
all_statements := input.statements

all_statements := statements_of_documents if not input.statements

statements_of_documents := [statement |
	some entry in input.documents
	some statement in statements(entry.name, entry.document)
]

# candidates(action, who) are the statements that are about an action and whose
# conditions on the session hold, with what is left to be compared with a
# request.
candidates(action, who) := [candidate |
	some at, statement in all_statements
	action_applies(statement, action)
	every condition in statement.conditions {
		unless_per_request(condition, who)
	}
	candidate := {
		"at": at,
		"pattern": resource_pattern(statement, who),
		"not_resource": statement.not_resource,
		"conditions": array.concat(
			[condition | some condition in statement.conditions; condition.key in per_request],
			attributes_to_be_named(statement, action),
		),
	}
]

action_applies(statement, action) if {
	regex.match(statement.action, subject(lower(action))) != statement.not_action
}

unless_per_request(condition, _) if condition.key in per_request

unless_per_request(condition, who) if {
	not condition.key in per_request
	satisfied(condition, {}, who)
}

# resource_pattern(statement, who) is one expression of all its resources; one with
# a variable that has no value is not in it.
resource_pattern(statement, who) := either_of(array.concat(statement.fixed, open)) if {
	open := [pattern |
		some element in statement.open
		pattern := element_pattern(element, who)
	]
}

# A switch may want the attributes of a CONNECT to be named by what allows it:
# an Allow that does not is for one without attributes.
attributes_to_be_named(statement, action) := [no_attributes] if must_name_attributes(statement, action)

attributes_to_be_named(statement, action) := [] if not must_name_attributes(statement, action)

must_name_attributes(statement, action) if {
	input.switches.connect_attributes_default == "none"
	statement.effect == "Allow"
	lower(action) == "iot:connect"
	not "iot:connectattributes" in {condition.key | some condition in statement.conditions}
}

no_attributes := {"test": "Null", "key": "iot:connectattributes", "quantifier": "", "values": ["true"]}

# resources_asked(request) are the ARNs of which one has to be allowed, and
# none denied. A shared subscription has two, of which switches choose.
resources_asked(request) := [request.resource] if {
	not request.share
	not contains(request.resource, ":topicfilter/$share/")
}

resources_asked(request) := shared_receive(request) if request.share

resources_asked(request) := shared_subscribe(request) if {
	not request.share
	contains(request.resource, ":topicfilter/$share/")
}

switches := object.get(input, "switches", {})

shared_receive(request) := choose(
	object.get(switches, "share_receive", "either"),
	{"topic": [request.resource], "share": [shared], "either": [request.resource, shared]},
) if {
	parts := fields(request.resource)
	name := concat("", ["topic/$share/", request.share, "/", trim_prefix(parts[5], "topic/")])
	shared := concat(":", array.concat(array.slice(parts, 0, 5), [name]))
}

shared_subscribe(request) := choose(
	object.get(switches, "share_subscribe", "share"),
	{"share": [request.resource], "filter": [filter], "either": [request.resource, filter]},
) if {
	filter := shared_filter(request)
}

shared_subscribe(request) := [request.resource] if not shared_filter(request)

choose(switch, from) := from[switch]

# shared_filter(request) is the resource of a shared subscription without its
# group.
shared_filter(request) := concat(":", array.concat(array.slice(parts, 0, 5), [concat("", ["topicfilter/", filter])])) if {
	request.action == "iot:Subscribe"
	parts := fields(request.resource)
	[[_, filter]] := regex.find_all_string_submatch_n(`(?s)^topicfilter/\$share/[^/]*/(.*)$`, parts[5], 1)
}
