package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/tester"
)

// TestRego runs OPA's own tests, which stand beside the rules.
func TestRego(t *testing.T) {
	modules, err := regoModules(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	// OPA's own limit of five seconds a test would measure the machine.
	results, err := tester.NewRunner().SetTimeout(time.Hour).SetCompiler(ast.NewCompiler()).RaiseBuiltinErrors(false).SetModules(modules).RunTests(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for r := range results {
		ran++
		t.Run(r.Name, func(t *testing.T) {
			if r.Error != nil {
				t.Fatal(r.Error)
			}
			if !r.Pass() {
				t.Errorf("%s fails\n%s", r.Location, r.String())
			}
		})
	}
	if ran < 25 {
		t.Errorf("only %d tests ran", ran)
	}
}

// TestRegoFormat holds the files to "opa fmt".
func TestRegoFormat(t *testing.T) {
	names, err := filepath.Glob("rego/*.rego")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := format.SourceWithOpts(name, text, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, want) {
			t.Errorf("%[1]s is not formatted: opa fmt -w policy/%[1]s", name)
		}
	}
}
