package where

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// maxExact is below which a double holds every whole number.
const maxExact = 1 << 53

// numbers makes doubles of the whole numbers of a CBOR payload, as JSON's are: the
// same condition then decides both. Those that a double would round stay whole, and
// can be compared. Keys are left alone.
func numbers(v any) any {
	switch v := v.(type) {
	case uint64:
		if v <= maxExact {
			return float64(v)
		}
	case int64:
		if -maxExact <= v && v <= maxExact {
			return float64(v)
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	case map[any]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

var arithmetic = map[string]string{
	operators.Add: "+", operators.Subtract: "-", operators.Multiply: "*", operators.Divide: "/", operators.Modulo: "%",
}

// undecidable finds arithmetic that no message could decide: the library has none
// of a double with a whole number, but only the value tells it that a payload's
// number is one.
func undecidable(a *ast.AST) (err error) {
	whole := func(e ast.Expr) bool {
		t := a.GetType(e.ID())
		return t.IsExactType(types.IntType) || t.IsExactType(types.UintType)
	}
	dynamic := func(e ast.Expr) bool { return a.GetType(e.ID()).IsExactType(types.DynType) }
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if err != nil || e.Kind() != ast.CallKind {
			return
		}
		sign, args := arithmetic[e.AsCall().FunctionName()], e.AsCall().Args()
		if sign == "" || len(args) != 2 {
			return
		}
		at := a.SourceInfo().GetStartLocation(e.ID()).Column() + 1
		one, other := args[0], args[1]
		switch {
		case sign == "%" && (dynamic(one) || dynamic(other)):
			err = fmt.Errorf("at character %d: numbers of a payload are doubles, which have no %%: write int(payload.n) %% 2", at)
		case dynamic(one) && whole(other), whole(one) && dynamic(other):
			err = fmt.Errorf("at character %d: numbers of a payload are doubles, and %s takes no whole number with one: write 1.0 for 1, or double(…) around what is whole", at, sign)
		}
	}))
	return err
}

// constant finds conditions that are the same for every message.
func constant(p cel.Program) error {
	var unknown []*cel.AttributePatternType
	for name := range Variables {
		unknown = append(unknown, cel.AttributePattern(name))
	}
	message, err := cel.PartialVars(map[string]any{}, unknown...)
	if err != nil {
		return err
	}
	v, _, err := p.Eval(message)
	switch {
	case err != nil:
		return fmt.Errorf("can be decided of no message: %w", err)
	case v == types.True:
		return errors.New("holds for every message: leave it out")
	case v == types.False:
		return errors.New("holds for no message: the route would take none")
	}
	return nil
}
