package ebbgate.iot

# decision answers input.request for input.context by input.documents, a list
# of {"name", "document"} as AWS writes them, at the gateway of input.gateway.
# Every statement of every document counts alike; a Deny that applies wins.
decision := {"outcome": outcome, "allowing": allowing, "denying": denying}

all_statements := [statement |
	some entry in input.documents
	some statement in statements(entry.name, entry.document)
]

allowing := deciding("Allow")

denying := deciding("Deny")

deciding(effect) := [[statement.policy, statement.index] |
	some statement in all_statements
	statement.effect == effect
	applies(statement)
]

default outcome := "implicit_deny"

outcome := "explicit_deny" if count(denying) > 0

outcome := "allow" if {
	count(denying) == 0
	count(allowing) > 0
}

applies(statement) if {
	action_applies(statement)
	resource_applies(statement)
	every condition in statement.conditions {
		satisfied(condition)
	}
}

action_applies(statement) if {
	not statement.not_action
	action_listed(statement)
}

action_applies(statement) if {
	statement.not_action
	not action_listed(statement)
}

action_listed(statement) if {
	some action in statement.actions
	like(tokens(action, "2008-10-17"), lower(input.request.action))
}

resource_applies(statement) if {
	not statement.not_resource
	resource_listed(statement)
}

resource_applies(statement) if {
	statement.not_resource
	not resource_listed(statement)
}

resource_listed(statement) if {
	some resource in statement.resources
	covers(resource, input.request.resource)
}
