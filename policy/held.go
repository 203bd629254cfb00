package policy

import (
	"encoding/json"
	"errors"
)

var errAnswer = errors.New("the policy rules answered in an unknown form")

// readHeld reads the answer of session.rego. What is not as expected is an
// error, which denies everything.
func readHeld(value any) (held, error) {
	h := held{values: values{}, statements: map[statementID][]conditionID{}}
	answer, ok := value.(map[string]any)
	if !ok {
		return h, errAnswer
	}
	variables, ok := answer["variables"].(map[string]any)
	if !ok {
		return h, errAnswer
	}
	for name, v := range variables {
		text, ok := v.(string)
		if !ok {
			return h, errAnswer
		}
		h.values[name] = text
	}
	statements, ok := answer["statements"].([]any)
	if !ok {
		return h, errAnswer
	}
	for _, s := range statements {
		id, conditions, err := readStatement(s)
		if err != nil {
			return h, err
		}
		h.statements[id] = conditions
	}
	return h, nil
}

func readStatement(value any) (statementID, []conditionID, error) {
	fields, ok := value.([]any)
	if !ok || len(fields) != 3 {
		return statementID{}, nil, errAnswer
	}
	policy, okPolicy := fields[0].(string)
	number, okNumber := fields[1].(json.Number)
	left, okLeft := fields[2].([]any)
	index, err := number.Int64()
	if !okPolicy || !okNumber || !okLeft || err != nil {
		return statementID{}, nil, errAnswer
	}
	conditions := make([]conditionID, len(left))
	for i, c := range left {
		pair, ok := c.([]any)
		if !ok || len(pair) != 2 {
			return statementID{}, nil, errAnswer
		}
		operator, okOperator := pair[0].(string)
		key, okKey := pair[1].(string)
		if !okOperator || !okKey {
			return statementID{}, nil, errAnswer
		}
		conditions[i] = conditionID{operator, key}
	}
	return statementID{policy, int(index)}, conditions, nil
}
