package where

import (
	"errors"
	"fmt"
	"regexp"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// The library's costs are right for most calls, and wrong where a device could make
// one call, or a loop of them, take seconds: a pattern of ten characters may be a
// program of a thousand instructions, each of which may run at each byte, and to
// compare two payloads is one unit however much is in them. So these count what they
// do, and a pattern is not run at all on more text than its cost allows. There is no
// clock in it: a message is decided the same on every machine.
const (
	stepsPerUnit = 64 // of a pattern, at one byte each: some 10 ns
	bytesPerUnit = 10 // of a text that is read, as the library has it
	// maxPattern bounds a pattern that is put together of what a message has.
	maxPattern = 512
)

// errCostly is what a condition fails with that would cost too much.
var errCostly = errors.New("for this message the condition costs more than is allowed: ask for less of the payload, shorten its patterns, or narrow from")

// bounded are the options of a program that keeps to the bounds.
func bounded() []cel.ProgramOption {
	known := costs{}
	return []cel.ProgramOption{cel.CostLimit(maxCost), cel.CostTracking(known), cel.CustomDecoratorV2(known.patterns)}
}

// costs counts what the library does not. It knows the constant patterns of one
// program, all of them before its first evaluation.
type costs map[string]*pattern

// CallCost implements the library's estimator; nil leaves a call to it.
func (c costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	units := uint64(1)
	switch function {
	case overloads.Matches:
		if len(args) != 2 {
			return nil
		}
		in, isText := args[0].(types.String)
		p, err := c.pattern(args[1])
		if !isText || err != nil {
			return nil
		}
		units = p.units(string(in))
		return &units
	case overloads.Size, operators.Equals, operators.NotEquals, operators.In, operators.OldIn,
		operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		for _, a := range args {
			units += weight(a, function != overloads.Size, maxCost)
		}
		return &units
	}
	return nil
}

// weight is what it costs to look at all of a value, at most so much.
func weight(v ref.Val, inside bool, most uint64) (units uint64) {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v) / bytesPerUnit)
	case types.Bytes:
		return uint64(len(v) / bytesPerUnit)
	case traits.Mapper:
		for it := v.Iterator(); inside && units < most && it.HasNext() == types.True; {
			key := it.Next()
			units += 1 + weight(key, true, most)
			if inner, ok := v.Find(key); ok && units < most {
				units += weight(inner, true, most-units)
			}
		}
	case traits.Lister:
		for it := v.Iterator(); inside && units < most && it.HasNext() == types.True; {
			units++
			units += weight(it.Next(), true, most-min(units, most))
		}
	}
	return units
}

// patterns replaces calls of matches by ours.
func (c costs) patterns(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || call.Function() != overloads.Matches || len(call.Args()) != 2 {
		return i, nil
	}
	args := call.Args()
	if by, ok := args[1].(interpreter.InterpretableConst); ok {
		text, ok := by.Value().(types.String)
		if !ok {
			return i, nil
		}
		p, err := newPattern(string(text))
		if err != nil {
			return nil, err
		}
		c[string(text)] = p
		args = []interpreter.InterpretableV2{args[0], ours{args[1]}}
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), args, func(values ...ref.Val) ref.Val {
		in, ok := values[0].(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(values[0])
		}
		p, err := c.pattern(values[1])
		if err == nil && p.units(string(in)) > maxCost {
			err = errCostly
		}
		if err != nil {
			return types.WrapErr(err)
		}
		return types.Bool(p.MatchString(string(in)))
	}), nil
}

// ours hides that a pattern is constant: the library would put its own call in our
// place.
type ours struct{ interpreter.InterpretableV2 }

// pattern is one that knows its size.
type pattern struct {
	*regexp.Regexp
	size int // instructions
}

// pattern finds that of a value, or makes it of one that is not known before.
func (c costs) pattern(v ref.Val) (*pattern, error) {
	text, ok := v.(types.String)
	switch p := c[string(text)]; {
	case !ok:
		return nil, fmt.Errorf("a pattern of type %s", v.Type().TypeName())
	case p != nil:
		return p, nil
	case len(text) > maxPattern:
		return nil, errCostly
	}
	return newPattern(string(text))
}

func newPattern(text string) (*pattern, error) {
	p, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("the pattern %q: %w", text, err)
	}
	n, err := types.RegexProgramSize(text)
	if err != nil {
		return nil, fmt.Errorf("the pattern %q: %w", text, err)
	}
	return &pattern{p, n}, nil
}

// units are what it costs to match a text.
func (p *pattern) units(in string) uint64 {
	return 1 + uint64(len(in)+1)*uint64(p.size)/stepsPerUnit //nolint:gosec // neither is negative
}
