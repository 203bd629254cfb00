package policy

import "strings"

// operator is a condition operator taken apart.
type operator struct {
	quantifier string // "", forAllValues or forAnyValue
	test       test
	negated    bool
	ifExists   bool
}

const (
	forAllValues = "ForAllValues"
	forAnyValue  = "ForAnyValue"
)

// test is what an operator compares, without its negation.
type test byte

const (
	null test = iota
	stringEquals
	stringEqualsIgnoreCase
	stringLike
	arnLike // ArnEquals is the same
	boolean
	binaryEquals
	ipAddress
	numeric // with a relation
	date    // with a relation

	equals            test = 0
	lessThan          test = 1 << 4
	lessThanEquals    test = 2 << 4
	greaterThan       test = 3 << 4
	greaterThanEquals test = 4 << 4
)

// kind is the test without its relation.
func (t test) kind() test { return t & 0xf }

// relation is equals, lessThan and so on, of numbers and dates.
func (t test) relation() test { return t &^ 0xf }

// text reports whether the test reads variables in its values.
func (t test) text() bool { return t >= stringEquals && t <= arnLike }

var tests = map[string]test{
	"Null":                     null,
	"StringEquals":             stringEquals,
	"StringEqualsIgnoreCase":   stringEqualsIgnoreCase,
	"StringLike":               stringLike,
	"ArnEquals":                arnLike,
	"ArnLike":                  arnLike,
	"Bool":                     boolean,
	"BinaryEquals":             binaryEquals,
	"IpAddress":                ipAddress,
	"NumericEquals":            numeric | equals,
	"NumericLessThan":          numeric | lessThan,
	"NumericLessThanEquals":    numeric | lessThanEquals,
	"NumericGreaterThan":       numeric | greaterThan,
	"NumericGreaterThanEquals": numeric | greaterThanEquals,
	"DateEquals":               date | equals,
	"DateLessThan":             date | lessThan,
	"DateLessThanEquals":       date | lessThanEquals,
	"DateGreaterThan":          date | greaterThan,
	"DateGreaterThanEquals":    date | greaterThanEquals,
}

var negations = map[string]string{
	"StringNotEquals":           "StringEquals",
	"StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
	"StringNotLike":             "StringLike",
	"ArnNotEquals":              "ArnEquals",
	"ArnNotLike":                "ArnLike",
	"NotIpAddress":              "IpAddress",
	"NumericNotEquals":          "NumericEquals",
	"DateNotEquals":             "DateEquals",
}

// parseOperator takes an operator apart; its name is compared exactly.
func parseOperator(text string) (operator, bool) {
	var o operator
	if quantifier, rest, ok := strings.Cut(text, ":"); ok {
		if quantifier != forAllValues && quantifier != forAnyValue {
			return o, false
		}
		o.quantifier, text = quantifier, rest
	}
	text, o.ifExists = strings.CutSuffix(text, "IfExists")
	if positive, ok := negations[text]; ok {
		o.negated, text = true, positive
	}
	var known bool
	o.test, known = tests[text]
	if o.test == null && (o.ifExists || o.quantifier != "") {
		return o, false
	}
	return o, known
}

// present decides a condition on a key with these values, given what decides
// about one of them.
func (o operator) present(n int, one func(i int) bool) bool {
	if n == 0 {
		return o.ifExists || o.quantifier == forAllValues || o.negated && o.quantifier == ""
	}
	all := o.quantifier == forAllValues
	for i := range n {
		if one(i) != all {
			return !all
		}
	}
	return all
}
