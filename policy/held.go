package policy

import (
	"errors"

	"github.com/open-policy-agent/opa/v1/ast"
)

var errAnswer = errors.New("the policy rules answered in an unknown form")

// readHeld reads one answer of session.rego. What is not as expected is an
// error, which denies everything.
func readHeld(answer *ast.Term) (held, error) {
	h := held{values: values{}, statements: map[statementID][]conditionID{}}
	fields, ok := answer.Value.(ast.Object)
	if !ok {
		return h, errAnswer
	}
	variables, ok := valueOf[ast.Object](fields, "variables")
	if !ok {
		return h, errAnswer
	}
	err := variables.Iter(func(name, value *ast.Term) error {
		text, okName := name.Value.(ast.String)
		put, okValue := value.Value.(ast.String)
		if !okName || !okValue {
			return errAnswer
		}
		h.values[string(text)] = string(put)
		return nil
	})
	if err != nil {
		return h, err
	}
	statements, ok := valueOf[*ast.Array](fields, "statements")
	if !ok {
		return h, errAnswer
	}
	return h, statements.Iter(func(s *ast.Term) error {
		id, left, err := readStatement(s)
		h.statements[id] = left
		return err
	})
}

func valueOf[T ast.Value](from ast.Object, name string) (value T, ok bool) {
	if term := from.Get(ast.InternedTerm(name)); term != nil {
		value, ok = term.Value.(T)
	}
	return value, ok
}

func readStatement(term *ast.Term) (id statementID, left []conditionID, err error) {
	fields, ok := term.Value.(*ast.Array)
	if !ok || fields.Len() != 3 {
		return id, nil, errAnswer
	}
	policy, okPolicy := fields.Elem(0).Value.(ast.String)
	number, okNumber := fields.Elem(1).Value.(ast.Number)
	conditions, okConditions := fields.Elem(2).Value.(*ast.Array)
	if !okPolicy || !okNumber || !okConditions {
		return id, nil, errAnswer
	}
	index, okIndex := number.Int()
	if !okIndex {
		return id, nil, errAnswer
	}
	err = conditions.Iter(func(c *ast.Term) error {
		pair, ok := c.Value.(*ast.Array)
		if !ok || pair.Len() != 2 {
			return errAnswer
		}
		operator, okOperator := pair.Elem(0).Value.(ast.String)
		key, okKey := pair.Elem(1).Value.(ast.String)
		if !okOperator || !okKey {
			return errAnswer
		}
		left = append(left, conditionID{string(operator), string(key)})
		return nil
	})
	return statementID{string(policy), index}, left, err
}
