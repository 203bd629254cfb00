package ebbgate.iot

# prepared is computed once per document set and kept as data.documents: for
# each document its conditional statements and the variables that it uses.
prepared := {entry.name: {"conditional": conditional, "variables": variables} |
	some entry in input.documents
	all := statements(entry.name, entry.document)
	conditional := [{"index": statement.index, "conditions": statement.conditions} |
		some statement in all
		count(statement.conditions) > 0
	]
	variables := {part.variable |
		some statement in all
		walk([statement.resources, statement.conditions], [_, part])
	}
}

# session is what the principal of input.context holds by the documents named
# in input.policies: the values of the variables, and which conditional
# statements hold, each with the conditions that are left to be compared per
# request. A statement without conditions always holds.
session := {"variables": session_variables, "statements": session_statements}

session_variables := {text: value |
	some name in input.policies
	some text in data.documents[name].variables
	value := variable(text)
}

session_statements := [[name, statement.index, left] |
	some name in input.policies
	some statement in data.documents[name].conditional
	not fails(statement)
	left := [[condition.operator, condition.name] |
		some condition in statement.conditions
		condition.key in per_request
	]
]

fails(statement) if {
	some condition in statement.conditions
	not condition.key in per_request
	not satisfied(condition)
}
