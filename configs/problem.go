package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong in a configuration.
type Problem struct {
	Source string // the file as it was named, the environment variable, "--set", or "defaults"
	Line   int    // line in a file, from 1; 0 elsewhere
	Key    string // key path: "routes.up[2].topic"; empty for the file as a whole
	Text   string // what is wrong
	Remedy string // what to do about it
	Code   string // what sort of problem it is: a stable, kebab-case word
}

// String is "file:line: key: what is wrong; remedy", in one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	for _, s := range []string{p.Key, p.Text} {
		if s != "" {
			b.WriteString(": " + s)
		}
	}
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return oneLine.Replace(b.String())
}

var oneLine = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ")

// Invalid is a configuration that cannot be used, with everything that is
// wrong with it in the order of the file.
type Invalid struct{ Problems []Problem }

// Error lists the problems, one a line.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// The codes of what this package itself finds. What the packages' Validate
// finds has the code of the package's section.
const (
	codeRead        = "read"          // the file cannot be read
	codeTooLarge    = "too-large"     // the file, or what its aliases make of it
	codeSyntax      = "syntax"        // not YAML
	codeDocuments   = "documents"     // more than one document
	codeTag         = "tag"           // a YAML tag
	codeDuplicate   = "duplicate-key" // a key twice
	codeUnknown     = "unknown-key"   // no such key
	codeShape       = "wrong-type"    // a list for a value, and so on
	codeInteger     = "integer"       // not a whole number
	codeNumber      = "number"        // not a number
	codeBoolean     = "boolean"       // neither true nor false
	codeDuration    = "duration"      // not a duration, or one without a unit
	codeSize        = "size"          // not a size, or one without a unit
	codeValue       = "value"         // refused by the type itself
	codeEnum        = "enum"          // not in the closed list
	codeName        = "name"          // not a name
	codeReference   = "reference"     // a ${…} that is none
	codeEnvironment = "environment"   // a variable that is not set
	codeSecretFile  = "secret-file"   // a file: reference that cannot be read
	codeOverride    = "override"      // a --set or variable that is none
	codeIndex       = "list-index"    // an override beyond the end of a list
	codeFile        = "missing-file"  // a file or folder that is not there
	codeFileKind    = "file-kind"     // a folder for a file, or the reverse
	codeThings      = "as-things"     // connections of things that could not be
	codeGatewayID   = "gateway-id"    // no id that tells gateways apart
	codeAdmin       = "admin-address" // the admin port is not an address on loopback
	codeAddress     = "address-twice" // the admin port is a listener's
	codeUpstream    = "no-upstream"   // a route names an upstream that is not there
	codeClientID    = "client-id"     // two connections would take each other's place
	codeTimeout     = "timeout"       // a time-out out of its range
	codeSandbox     = "sandbox"       // settings that the sandbox does not have
	codeFailover    = "failover"      // an upstream fails over to what cannot take over
	codeOneWay      = "one-way"       // a way down from an upstream that has none
	codeProperties  = "no-properties" // user properties to a broker that has none
	codeNoFiles     = "no-files"      // a route makes files, and file transfer is off
	codeBatch       = "no-batch"      // a budget is to fill batches, and no route makes any
	codePrices      = "no-prices"     // a budget in dollars, and nothing has a price
	codeRegion      = "no-region"     // a signature for nobody knows which region
	codeSign        = "sign"          // a signature where there can be none
	codePolicy      = "no-policy"     // a listener names a policy that is not there
)

// sorted orders problems as the sources and their lines are.
func sorted(ps []Problem, sources []string) []Problem {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(slices.Index(sources, a.Source), slices.Index(sources, b.Source)), cmp.Compare(a.Line, b.Line))
	})
	return ps
}
