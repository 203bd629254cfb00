package policy

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

//go:embed rego/statement.rego rego/pattern.rego rego/context.rego rego/condition.rego rego/decision.rego rego/explain.rego rego/session.rego
var regoFiles embed.FS

// rules are the compiled Rego modules with the queries that need no documents
// prepared. They are made once and safe for concurrent use.
type rules struct {
	compiler *ast.Compiler
	prepared rego.PreparedEvalQuery
	sessions rego.PreparedEvalQuery
	explain  rego.PreparedEvalQuery
}

// embeddedRules compiles the embedded modules, once for all engines and desks
// of a process: they never change. An error is a fault of this build.
var embeddedRules = sync.OnceValues(func() (*rules, error) {
	modules, err := regoModules(regoFiles)
	if err != nil {
		return nil, err
	}
	return compileRules(context.Background(), modules)
})

func compileRules(ctx context.Context, modules map[string]*ast.Module) (*rules, error) {
	r := &rules{compiler: ast.NewCompiler().WithStrict(true)}
	if r.compiler.Compile(modules); r.compiler.Failed() {
		return nil, fmt.Errorf("compile the policy rules: %w", r.compiler.Errors)
	}
	for _, q := range []struct {
		name  string
		query *rego.PreparedEvalQuery
	}{{"prepared", &r.prepared}, {"sessions", &r.sessions}, {"explanation", &r.explain}} {
		var err error
		if *q.query, err = r.query(ctx, "data.ebbgate.iot."+q.name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// regoModules parses the Rego files of a tree.
func regoModules(files fs.FS) (map[string]*ast.Module, error) {
	names, err := fs.Glob(files, "rego/*.rego")
	if err != nil {
		return nil, fmt.Errorf("list the policy rules: %w", err)
	}
	modules := map[string]*ast.Module{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read the policy rules: %w", err)
		}
		module, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			return nil, fmt.Errorf("parse the policy rules: %w", err)
		}
		modules[name] = module
	}
	return modules, nil
}

// query prepares a query whose answer stays in OPA's own form.
func (r *rules) query(ctx context.Context, path string) (rego.PreparedEvalQuery, error) {
	query, err := rego.New(rego.Query(path), rego.Compiler(r.compiler), rego.GenerateJSON(asTerm)).PrepareForEval(ctx)
	if err != nil {
		return query, fmt.Errorf("prepare %s: %w", path, err)
	}
	return query, nil
}

func asTerm(term *ast.Term, _ *rego.EvalContext) (any, error) { return term, nil }

// answer evaluates a query that has exactly one value.
func answer(ctx context.Context, query rego.PreparedEvalQuery, input ast.Value) (*ast.Term, error) {
	results, err := query.Eval(ctx, rego.EvalParsedInput(input))
	if err != nil {
		return nil, fmt.Errorf("evaluate the policy rules: %w", err)
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return nil, fmt.Errorf("evaluate the policy rules: no answer")
	}
	term, ok := results[0].Expressions[0].Value.(*ast.Term)
	if !ok {
		return nil, errAnswer
	}
	return term, nil
}

// object is an input of the rules, made of terms and of what becomes terms.
func object(fields map[string]any) (ast.Object, error) {
	out := ast.NewObject()
	for name, value := range fields {
		term, ok := value.(*ast.Term)
		if !ok {
			v, err := ast.InterfaceToValue(value)
			if err != nil {
				return nil, fmt.Errorf("policy input: %w", err)
			}
			term = ast.NewTerm(v)
		}
		out.Insert(ast.InternedTerm(name), term)
	}
	return out, nil
}

// documentsInput is input.documents, input.gateway and input.switches.
func documentsInput(documents []*document, g gateway) map[string]any {
	list := make([]any, len(documents))
	for i, d := range documents {
		list[i] = map[string]any{"name": d.name, "document": d.raw}
	}
	return map[string]any{"documents": list, "gateway": g.input(), "switches": g.switched()}
}

// holdings answers what sessions hold by one set of documents.
type holdings struct {
	query                       rego.PreparedEvalQuery
	prepared, gateway, switches *ast.Term
}

// holdings lets the rules prepare the documents and keeps that.
func (r *rules) holdings(ctx context.Context, documents []*document, g gateway) (*holdings, error) {
	input, err := object(documentsInput(documents, g))
	if err != nil {
		return nil, err
	}
	h := &holdings{query: r.sessions, gateway: input.Get(ast.InternedTerm("gateway")), switches: input.Get(ast.InternedTerm("switches"))}
	h.prepared, err = answer(ctx, r.prepared, input)
	return h, err
}

// held is what a session holds by some policies: what variables stand for, and
// the conditional statements that may apply, each with the conditions left to
// be compared per request.
type held struct {
	values     values
	statements map[statementID][]conditionID
}

type statementID struct {
	policy string
	index  int
}

type conditionID struct {
	operator, key string // as written
}

// holder is a session with the policies that it holds by.
type holder struct {
	session  session
	policies []string
}

// ask evaluates session.rego for several at once, which is much cheaper than
// one by one.
func (h *holdings) ask(ctx context.Context, holders []holder) ([]held, error) {
	list := make([]any, len(holders))
	for i, one := range holders {
		list[i] = map[string]any{"policies": one.policies, "context": one.session.context()}
	}
	input, err := object(map[string]any{"prepared": h.prepared, "gateway": h.gateway, "switches": h.switches, "sessions": list})
	if err != nil {
		return nil, err
	}
	term, err := answer(ctx, h.query, input)
	if err != nil {
		return nil, err
	}
	answers, ok := term.Value.(*ast.Array)
	if !ok || answers.Len() != len(holders) {
		return nil, errAnswer
	}
	out := make([]held, len(holders))
	for i := range out {
		if out[i], err = readHeld(answers.Elem(i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}
