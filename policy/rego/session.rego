package ebbgate.iot

# prepared is computed once per document set and given back as input.prepared:
# for each document its conditional statements and the variables that it uses.
prepared := {entry.name: {"conditional": conditional, "variables": variables} |
	some entry in input.documents
	all := statements(entry.name, entry.document)
	conditional := [{"index": statement.index, "known": known_now, "left": left} |
		some statement in all
		count(statement.conditions) > 0
		known_now := [condition |
			some condition in statement.conditions
			not condition.key in per_request
		]
		left := [[condition.operator, condition.name] |
			some condition in statement.conditions
			condition.key in per_request
		]
	]
	variables := {part |
		some statement in all
		some parts in named_parts(statement)
		some part in parts
		part.variable
	}
}

# compiled is prepared together with the statements.
compiled := {"prepared": prepared, "statements": statements_of_documents}

# named_parts(statement) are the lists of tokens in which variables stand.
named_parts(statement) := array.concat(
	[element.name | some element in statement.open],
	[parts |
		some condition in statement.conditions
		some value in condition.values
		parts := operand_tokens(condition.test, value)
	],
)

# sessions says for each of input.sessions what its principal holds.
sessions := [session(entry.policies, entry.context) | some entry in input.sessions]

# session(policies, who) is what a principal holds by the documents of these
# names: the values of the variables, and which conditional statements hold,
# each with the conditions that are left to be compared per request. A
# statement without conditions always holds.
session(policies, who) := {
	"variables": {part.variable: value |
		some name in policies
		some part in input.prepared[name].variables
		value := referred(part, who)
	},
	"statements": [[name, statement.index, statement.left] |
		some name in policies
		some statement in input.prepared[name].conditional
		every condition in statement.known {
			satisfied(condition, {}, who)
		}
	],
}
