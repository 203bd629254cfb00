// Package archtest holds the architecture as a test: who may import whom, one
// house per heavy dependency, and the habits that keep a file readable.
//
// It parses the tree and never builds it, so that every build tag and every
// operating system is covered. [Load] reads the files, [Check] applies a [Law];
// the law of this repository is [Ebbgate] in law.go, and its exceptions are a
// table in exceptions.go, each with a reason. An exception that nothing needs
// is itself a violation, so the table cannot outlive its causes.
package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Violation is one place that breaks the law.
type Violation struct {
	Rule string // kebab-case name of the rule, as exceptions name it
	Path string // file or folder, relative to the root of the tree
	Line int    // 0 when the whole file or folder is meant
	Text string // what is wrong and what to do
}

// String is "path:line: rule: text".
func (v Violation) String() string {
	where := v.Path
	if v.Line > 0 {
		where += ":" + strconv.Itoa(v.Line)
	}
	return where + ": " + v.Rule + ": " + v.Text
}

// File is one parsed Go file.
type File struct {
	Path  string // relative to the root, with slashes
	Dir   string // folder of Path, "." at the root
	Test  bool   // ends in _test.go
	Lines int
	AST   *ast.File
	fset  *token.FileSet
}

// line is where a node begins.
func (f *File) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

// imports lists the imported paths with their specs.
func (f *File) imports(fn func(importPath string, spec *ast.ImportSpec)) {
	for _, spec := range f.AST.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			fn(p, spec)
		}
	}
}

// Tree is a module's source.
type Tree struct {
	Files []*File  // sorted by path
	Top   []string // names of the entries at the root, hidden ones left out
}

// Load parses every Go file below the root of src. Folders named testdata and
// hidden ones are left out, as the go tool does.
func Load(src fs.FS) (*Tree, error) {
	t := &Tree{}
	top, err := fs.ReadDir(src, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range top {
		if !strings.HasPrefix(e.Name(), ".") {
			t.Top = append(t.Top, e.Name())
		}
	}
	fset := token.NewFileSet()
	err = fs.WalkDir(src, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(p) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(src, p)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		t.Files = append(t.Files, &File{
			Path: p, Dir: path.Dir(p), Test: strings.HasSuffix(p, "_test.go"),
			Lines: strings.Count(string(text), "\n"), AST: parsed, fset: fset,
		})
		return nil
	})
	return t, err
}

// Check applies the law to the tree and returns what is left after the
// exceptions, sorted by path, line and rule.
func Check(t *Tree, law *Law) []Violation {
	var found []Violation
	report := func(rule, p string, line int, format string, args ...any) {
		found = append(found, Violation{Rule: rule, Path: p, Line: line, Text: fmt.Sprintf(format, args...)})
	}
	checkTop(t, law, report)
	checkFolders(t, law, report)
	checkPackageDocs(t, report)
	for _, f := range t.Files {
		checkImports(f, law, report)
		checkSignatures(f, law, report)
		checkHabits(f, law, report)
		checkDocs(f, report)
	}
	found = law.except(found)
	slices.SortFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
	return found
}

// reporter records one violation.
type reporter func(rule, path string, line int, format string, args ...any)
