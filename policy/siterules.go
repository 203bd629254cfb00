package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// sitePackage is where the site's rules are.
var sitePackage = ast.MustParseRef("data.ebbgate.site")

// siteCapabilities are the parts of Rego that say the same at all times and
// reach nothing outside: no clock, no chance, no network, no environment.
func siteCapabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return b.Nondeterministic || outside(b.Name) })
	c.AllowNet = []string{}
	return c
}

// outside reports whether a function depends on more than its arguments, or
// has an effect, though OPA does not call it nondeterministic.
func outside(name string) bool {
	switch name {
	case "http.send", "net.lookup_ip_addr", "opa.runtime", "rand.intn", "time.now_ns", "uuid.rfc4122", "trace", "print",
		"io.jwt.decode_verify", "providers.aws.sign_req", "rego.parse_module":
		return true
	}
	return strings.HasPrefix(name, "crypto.x509.parse_and_verify") // compare dates with the clock
}

// newSiteRules compiles the site's rules from the texts of its files, nil when
// there are none.
func newSiteRules(ctx context.Context, files map[string][]byte, opts SiteOptions, now func() time.Time) (*siteRules, Faults) {
	if len(files) == 0 {
		return nil, nil
	}
	modules := map[string]*ast.Module{}
	var faults Faults
	for _, file := range slices.Sorted(maps.Keys(files)) {
		module, err := ast.ParseModuleWithOpts(file, string(files[file]), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: siteCapabilities()})
		if err != nil {
			faults = append(faults, regoFaults(file, err)...)
			continue
		}
		if module == nil {
			faults = append(faults, Fault{File: file, Text: "the file is empty", Remedy: "start with \"package ebbgate.site\", or delete the file"})
			continue
		}
		if !module.Package.Path.HasPrefix(sitePackage) {
			faults = append(faults, faultAt(module.Package.Location, "the package is "+module.Package.Path.String(), "write \"package ebbgate.site\""))
		}
		modules[file] = module
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if faults := checkDeny(modules); len(faults) > 0 {
		return nil, faults
	}
	compiler := ast.NewCompiler().WithStrict(true).WithCapabilities(siteCapabilities())
	if compiler.Compile(modules); compiler.Failed() {
		return nil, regoFaults("", compiler.Errors)
	}
	query, err := rego.New(rego.Query("data.ebbgate.site.deny"), rego.Compiler(compiler), rego.StrictBuiltinErrors(true), rego.GenerateJSON(asTerm)).PrepareForEval(ctx)
	if err != nil {
		return nil, Faults{{File: slices.Sorted(maps.Keys(files))[0], Text: err.Error(), Remedy: "correct the rules"}}
	}
	opts = opts.complete()
	return &siteRules{query: query, timeout: opts.Timeout, now: now, answers: newCache[siteKey, *siteAnswer](opts.Entries)}, nil
}

// checkDeny wants "deny contains reason if …" and nothing else of that name: a
// rule of another kind would be undefined where it should deny.
func checkDeny(modules map[string]*ast.Module) Faults {
	const remedy = "write: deny contains \"a reason\" if { … }"
	var faults Faults
	found, first := false, ""
	for _, file := range slices.Sorted(maps.Keys(modules)) {
		module := modules[file]
		if first == "" {
			first = file
		}
		if !module.Package.Path.Equal(sitePackage) {
			continue
		}
		for _, rule := range module.Rules {
			if rule.Head.Ref().String() != "deny" {
				continue
			}
			found = true
			if rule.Head.RuleKind() != ast.MultiValue || len(rule.Head.Args) > 0 || rule.Default {
				faults = append(faults, faultAt(rule.Location, "deny is not a set of reasons", remedy))
			}
		}
	}
	if !found {
		faults = append(faults, Fault{File: first, Text: "there is no deny in package ebbgate.site", Remedy: remedy})
	}
	return faults
}

func faultAt(at *ast.Location, text, remedy string) Fault {
	f := Fault{Text: text, Remedy: remedy}
	if at != nil {
		f.File, f.Line, f.Column = at.File, at.Row, at.Col
	}
	return f
}

// regoFaults are the errors of parser and compiler.
func regoFaults(file string, err error) Faults {
	list, ok := errors.AsType[ast.Errors](err)
	if !ok {
		return Faults{{File: file, Text: fmt.Sprintf("not Rego: %v", err), Remedy: "correct the rules; \"opa check\" says the same"}}
	}
	var faults Faults
	for _, e := range list {
		remedy := "correct the rules; \"opa check\" says the same"
		if strings.Contains(e.Message, "undefined function") {
			remedy = "use only functions that say the same at all times: no clock, chance, network or environment"
		}
		f := faultAt(e.Location, strings.ReplaceAll(e.Message, "\n", " "), remedy)
		if f.File == "" {
			f.File = file
		}
		faults = append(faults, f)
	}
	return faults
}
