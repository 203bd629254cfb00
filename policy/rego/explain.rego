package ebbgate.iot

# explanation is decision with its reasons: what each statement said to the
# request, which element or condition held, and what had no value.
explanation := object.union(decision, {
	"statements": traces,
	"variables": used_values,
	"missing": missing,
})

traces := [trace |
	some statement in all_statements
	trace := {
		"policy": statement.policy,
		"index": statement.index,
		"sid": object.get(statement.raw, "Sid", ""),
		"effect": statement.effect,
		"applies": is_true([1 | some side in ["allowing", "denying"]; [statement.policy, statement.index] in decision[side]]),
		"action": {
			"holds": is_true([1 | action_applies(statement, input.request.action)]),
			"negated": statement.not_action,
			"elements": action_elements(statement),
		},
		"resource": {
			"holds": is_true([1 | some arn in resources_asked(input.request); regex.match(resource_pattern(statement, input.context), subject(arn)) != statement.not_resource]),
			"negated": statement.not_resource,
			"elements": resource_elements(statement),
		},
		"conditions": [condition_trace(statement, condition) | some condition in statement.conditions],
	}
]

is_true(found) := count(found) > 0

action_elements(statement) := [element |
	some text in list(one_of(statement.raw, "Action", "NotAction"))
	element := {
		"text": text,
		"resolved": text,
		"matches": is_true([1 | regex.match(either_of([glob(tokens(lower(text), "2008-10-17"), any)]), subject(lower(input.request.action)))]),
		"missing": [],
	}
]

resource_elements(statement) := [element |
	some index, text in list(one_of(statement.raw, "Resource", "NotResource"))
	prepared_element := statement.resources[index]
	element := {
		"text": text,
		"resolved": shown_resource(text, prepared_element.name),
		"matches": is_true([1 | some arn in resources_asked(input.request); covers(prepared_element, arn, input.context)]),
		"missing": without_value(prepared_element.name),
	}
]

condition_trace(statement, condition) := {
	"operator": condition.operator,
	"key": condition.name,
	"holds": is_true([1 | satisfied(condition, input.request, input.context)]),
	"have": values(condition.key, input.request, input.context),
	"want": [shown_operand(condition, value) |
		some value in list(statement.raw.Condition[condition.operator][condition.name])
	],
	"missing": [name |
		some value in condition.values
		some name in without_value(operand_tokens(condition.test, value))
	],
}

without_value(parts) := [part.variable |
	some part in parts
	part.variable
	not referred(part, input.context)
]

# shown(tokens) is text with the values of its variables put in, those without
# one as they are written.
shown(parts) := concat("", [text |
	some part in parts
	text := shown_part(part)
])

shown_part(part) := part.literal

shown_part(part) := part.wildcard

shown_part(part) := referred(part, input.context)

shown_part(part) := concat("", ["${", part.variable, "}"]) if {
	part.variable
	not referred(part, input.context)
}

shown_resource(text, name) := concat(":", array.concat(array.slice(fields(text), 0, 5), [shown(name)])) if {
	count(fields(text)) == 6
}

shown_resource(text, _) := text if count(fields(text)) != 6

shown_operand(condition, value) := shown(tokens(text(value), condition.version)) if family(condition.test) != "other"

shown_operand(condition, value) := text(value) if family(condition.test) == "other"

used_values := {part.variable: value |
	some statement in all_statements
	some parts in named_parts(statement)
	some part in parts
	value := referred(part, input.context)
}

# missing lists the keys and variables that a statement about this action asks
# for and that have no value here.
missing := sort({name |
	some statement in all_statements
	action_applies(statement, input.request.action)
	some name in missing_in(statement)
})

missing_in(statement) := ({name | some element in statement.open; some name in without_value(element.name)} | {name |
	some condition in statement.conditions
	some value in condition.values
	some name in without_value(operand_tokens(condition.test, value))
}) | {condition.name |
	some condition in statement.conditions
	count(values(condition.key, input.request, input.context)) == 0
}
