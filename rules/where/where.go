// Package where decides by a condition in CEL (the Common Expression Language)
// whether a route takes a message. It is the only importer of the CEL library.
//
// A condition is compiled once, checked for its types, and each evaluation has a
// bound on what it costs: a message that would need more is undecided, as is one
// whose payload a condition asks for and cannot be read.
package where

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/payload"
)

// Condition is a compiled condition. It is immutable and safe for concurrent use.
type Condition struct {
	program cel.Program
}

// Bounds of a condition, and of one evaluation in the library's own units: each
// operation costs about one, a text as much as a tenth of its bytes.
const (
	maxText = 4096
	maxCost = 20_000
)

// Variables are what a condition may name, with what they stand for.
var Variables = map[string]string{
	"topic":        "the topic that the device published to",
	"levels":       "its levels as a list: levels[0] is the first",
	"client_id":    "the device's MQTT client id",
	"thing":        "its thing in the registry, or empty",
	"properties":   "the message's user properties by name, the last of each",
	"content_type": "the message's content type",
	"payload":      "the payload, when it is JSON or CBOR",
	"size":         "the payload's bytes",
	"qos":          "0, 1 or 2",
	"retain":       "whether the retain flag is set",
}

func environment() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("topic", cel.StringType),
		cel.Variable("levels", cel.ListType(cel.StringType)),
		cel.Variable("client_id", cel.StringType),
		cel.Variable("thing", cel.StringType),
		cel.Variable("properties", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("content_type", cel.StringType),
		cel.Variable("payload", cel.DynType),
		cel.Variable("size", cel.IntType),
		cel.Variable("qos", cel.IntType),
		cel.Variable("retain", cel.BoolType),
		cel.CrossTypeNumericComparisons(true), // JSON's numbers have a point, people's often none
	)
}

// Compile reads a condition.
func Compile(text string) (*Condition, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("is longer than %d characters", maxText)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, errors.New(firstOf(issues))
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("is of type %s, not true or false", t)
	}
	if err := undecidable(ast.NativeRep()); err != nil {
		return nil, err
	}
	partly, err := env.Program(ast, append(bounded(), cel.EvalOptions(cel.OptPartialEval))...)
	if err != nil {
		return nil, err
	}
	if err := constant(partly); err != nil {
		return nil, err
	}
	p, err := env.Program(ast, append(bounded(), cel.EvalOptions(cel.OptOptimize))...)
	if err != nil {
		return nil, err
	}
	return &Condition{p}, nil
}

// firstOf is the first mistake in one line, with its place.
func firstOf(issues *cel.Issues) string {
	for _, e := range issues.Errors() {
		return fmt.Sprintf("at character %d: %s", e.Location.Column()+1, strings.ReplaceAll(e.Message, "\n", " "))
	}
	return strings.ReplaceAll(issues.String(), "\n", " ")
}

// Message is what a condition is asked about.
type Message struct {
	*bridge.Message
	ClientID string
	Thing    string
}

// Holds evaluates the condition. An error means that it is undecided.
func (c *Condition) Holds(m Message) (bool, error) {
	v, _, err := c.program.Eval(&facts{m: m})
	if over, ok := errors.AsType[interpreter.EvalCancelledError](err); ok && over.Cause == interpreter.CostLimitExceeded {
		err = errCostly
	}
	if err != nil {
		return false, err
	}
	b, ok := v.Value().(bool)
	if !ok {
		return false, fmt.Errorf("the condition is %v, not true or false", v.Type())
	}
	return b, nil
}

// facts resolves the variables that a condition names, and only those: a payload
// is not read for a condition on the topic.
type facts struct {
	m       Message
	payload any
	read    bool
}

// ResolveName implements the library's activation.
func (f *facts) ResolveName(name string) (any, bool) {
	switch name {
	case "topic":
		return f.m.Topic, true
	case "levels":
		return strings.Split(f.m.Topic, "/"), true
	case "client_id":
		return f.m.ClientID, true
	case "thing":
		return f.m.Thing, true
	case "properties":
		all := make(map[string]string, len(f.m.User))
		for _, u := range f.m.User {
			all[u.Key] = u.Value
		}
		return all, true
	case "content_type":
		return f.m.ContentType, true
	case "payload":
		return f.content(), true
	case "size":
		return int64(len(f.m.Payload)), true
	case "qos":
		return int64(f.m.QoS), true
	case "retain":
		return f.m.Retain, true
	}
	return nil, false
}

// Parent implements the library's activation.
func (f *facts) Parent() cel.Activation { return nil }

func (f *facts) content() any {
	if !f.read {
		v, err := payload.Decode(f.m.Payload)
		if err != nil {
			v = types.WrapErr(err)
		}
		f.payload, f.read = numbers(v), true
	}
	return f.payload
}
