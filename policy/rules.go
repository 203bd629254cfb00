package policy

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

//go:embed rego/statement.rego rego/pattern.rego rego/context.rego rego/condition.rego rego/decision.rego rego/session.rego
var regoFiles embed.FS

// rules are the compiled Rego modules with the queries that need no documents
// prepared. They are made once and safe for concurrent use.
type rules struct {
	compiler *ast.Compiler
	prepared rego.PreparedEvalQuery
	decision rego.PreparedEvalQuery
}

// newRules compiles the embedded modules. An error is a fault of this build.
func newRules(ctx context.Context) (*rules, error) {
	modules, err := regoModules(regoFiles)
	if err != nil {
		return nil, err
	}
	r := &rules{compiler: ast.NewCompiler().WithStrict(true)}
	if r.compiler.Compile(modules); r.compiler.Failed() {
		return nil, fmt.Errorf("compile the policy rules: %w", r.compiler.Errors)
	}
	if r.prepared, err = r.query(ctx, "data.ebbgate.iot.prepared", nil); err != nil {
		return nil, err
	}
	r.decision, err = r.query(ctx, "data.ebbgate.iot.decision", nil)
	return r, err
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

func (r *rules) query(ctx context.Context, path string, store storage.Store) (rego.PreparedEvalQuery, error) {
	options := []func(*rego.Rego){rego.Query(path), rego.Compiler(r.compiler)}
	if store != nil {
		options = append(options, rego.Store(store), rego.StoreReadAST(true))
	}
	query, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return query, fmt.Errorf("prepare %s: %w", path, err)
	}
	return query, nil
}

// answer evaluates a query that has exactly one value.
func answer(ctx context.Context, query rego.PreparedEvalQuery, input any) (any, error) {
	value, err := ast.InterfaceToValue(input)
	if err != nil {
		return nil, fmt.Errorf("policy input: %w", err)
	}
	results, err := query.Eval(ctx, rego.EvalParsedInput(value))
	if err != nil {
		return nil, fmt.Errorf("evaluate the policy rules: %w", err)
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return nil, fmt.Errorf("evaluate the policy rules: no answer")
	}
	return results[0].Expressions[0].Value, nil
}

// documentsInput is input.documents and input.gateway.
func documentsInput(documents []*document, g gateway) map[string]any {
	list := make([]any, len(documents))
	for i, d := range documents {
		list[i] = map[string]any{"name": d.name, "document": d.raw}
	}
	return map[string]any{
		"documents": list,
		"gateway":   map[string]any{"partition": g.partition, "region": g.region, "account": g.account},
	}
}

// holdings answers what a session holds by one set of documents.
type holdings struct {
	query rego.PreparedEvalQuery
}

// holdings lets the rules prepare the documents and keeps that as data.
func (r *rules) holdings(ctx context.Context, documents []*document, g gateway) (*holdings, error) {
	prepared, err := answer(ctx, r.prepared, documentsInput(documents, g))
	if err != nil {
		return nil, err
	}
	store := inmem.NewFromObjectWithOpts(map[string]any{"documents": prepared},
		inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
	query, err := r.query(ctx, "data.ebbgate.iot.session", store)
	if err != nil {
		return nil, err
	}
	return &holdings{query: query}, nil
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

// ask evaluates session.rego.
func (h *holdings) ask(ctx context.Context, policies []string, s session) (held, error) {
	names := make([]any, len(policies))
	for i, name := range policies {
		names[i] = name
	}
	value, err := answer(ctx, h.query, map[string]any{"policies": names, "context": s.context()})
	if err != nil {
		return held{}, err
	}
	return readHeld(value)
}
