package archtest

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// checkHabits enforces what keeps a file readable and a package testable:
// length, no init, no hidden state, no sleeping, no global logger, no notes to
// self.
func checkHabits(f *File, law *Law, report reporter) {
	if f.Lines > law.MaxLines {
		report("length", f.Path, 0, "%d lines, at most %d: split it by noun", f.Lines, law.MaxLines)
	}
	for _, g := range f.AST.Comments {
		for _, c := range g.List {
			if word := noteToSelf(c.Text); word != "" {
				report("note", f.Path, f.line(c), "%s in the source: do it, or open an issue", word)
			}
		}
	}
	if f.Test {
		return
	}
	for _, d := range f.AST.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				report("init", f.Path, f.line(d), "init runs before main can decide: make it a function that somebody calls")
			}
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				checkState(f, d, report)
			}
		}
	}
	checkCalls(f, report)
}

// checkState refuses package variables that are declared without a value: they
// can only be there to be written later.
func checkState(f *File, d *ast.GenDecl, report reporter) {
	for _, s := range d.Specs {
		v := s.(*ast.ValueSpec)
		if len(v.Values) > 0 || embeds(v.Doc) || embeds(d.Doc) {
			continue
		}
		if f.AST.Name.Name == "main" && v.Names[0].Name == "version" {
			continue // stamped by the linker
		}
		report("state", f.Path, f.line(v), "package variable %s has no value, so it is state: put it in a struct that somebody owns", v.Names[0].Name)
	}
}

func embeds(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	return slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// checkCalls refuses time.Sleep and the global logger.
func checkCalls(f *File, report reporter) {
	names := importNames(f)
	ast.Inspect(f.AST, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch names[pkg.Name] {
		case "time":
			if sel.Sel.Name == "Sleep" {
				report("sleep", f.Path, f.line(sel), "time.Sleep cannot be woken: wait on a timer and ctx.Done, or say why in an exception")
			}
		case "log/slog":
			switch sel.Sel.Name {
			case "Debug", "Info", "Warn", "Error", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Log", "LogAttrs", "Default", "SetDefault":
				report("logger", f.Path, f.line(sel), "slog.%s is the global logger: take a *slog.Logger", sel.Sel.Name)
			}
		case "log":
			report("logger", f.Path, f.line(sel), "log.%s is the global logger: take a *slog.Logger", sel.Sel.Name)
		}
		return true
	})
}

// importNames maps the names that a file gives its imports to their paths.
func importNames(f *File) map[string]string {
	names := map[string]string{}
	f.imports(func(p string, spec *ast.ImportSpec) {
		name := path.Base(p)
		if isMajor(name) {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	})
	return names
}

// isMajor reports whether an import path's last element is a major version.
func isMajor(name string) bool {
	return len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == ""
}

// noteToSelf finds a word by which people mark what they left undone.
func noteToSelf(comment string) string {
	for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"} {
		at := strings.Index(comment, word)
		if at < 0 {
			continue
		}
		end := at + len(word)
		before := at == 0 || !isWord(comment[at-1])
		after := end == len(comment) || !isWord(comment[end])
		if before && after {
			return word
		}
	}
	return ""
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
