# METADATA
# description: |
#   AWS IoT Core policies in Rego: the one authority on what a policy set
#   allows. Written after AWS's documentation as restated in docs/policy.md.
#
#   statement.rego  a document as AWS writes it → statements in one shape
#   pattern.rego    wildcards, variables in text, ARNs
#   context.rego    the values of keys and variables
#   condition.rego  condition operators
#   decision.rego   one request, decided whole, from the raw documents
#   explain.rego    the same with its reasons
#   session.rego    what a session holds, for the compiled path
#
#   input.gateway says whose ARNs are asked about, input.switches what the
#   operator chose where AWS is not known for certain; a switch that is not
#   there has its default.
package ebbgate.iot

# statements(name, document) are the statements of a document, which the
# strict parser has accepted, with every "one or a list" made a list.
statements(name, document) := [statement |
	some index, raw in list(document.Statement)
	resources := [resource(text, version(document)) |
		some text in list(one_of(raw, "Resource", "NotResource"))
	]
	statement := {
		"policy": name,
		"index": index,
		"raw": raw,
		"effect": raw.Effect,
		"action": either_of([glob(tokens(lower(action), "2008-10-17"), any) |
			some action in list(one_of(raw, "Action", "NotAction"))
		]),
		"not_action": "NotAction" in object.keys(raw),
		"resources": resources,
		"fixed": [element.pattern | some element in resources],
		"open": [element | some element in resources; not element.pattern],
		"not_resource": "NotResource" in object.keys(raw),
		"conditions": conditions(raw, version(document)),
	}
]

# Without a Version a document is of 2008, which knows no variables.
version(document) := object.get(document, "Version", "2008-10-17")

list(value) := value if is_array(value)

list(value) := [value] if not is_array(value)

one_of(raw, name, _) := raw[name]

one_of(raw, name, other) := raw[other] if not name in object.keys(raw)
