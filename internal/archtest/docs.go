package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// checkPackageDocs asks every package for exactly one package comment that
// begins as godoc wants it.
func checkPackageDocs(t *Tree, report reporter) {
	type state struct {
		name string
		docs []*File
	}
	byDir := map[string]*state{}
	var dirs []string
	for _, f := range t.Files {
		s := byDir[f.Dir]
		if s == nil {
			s = &state{}
			byDir[f.Dir] = s
			dirs = append(dirs, f.Dir)
		}
		if !f.Test || s.name == "" {
			s.name = strings.TrimSuffix(f.AST.Name.Name, "_test")
		}
		if f.AST.Doc != nil && f.AST.Doc.Text() != "" {
			s.docs = append(s.docs, f)
		}
	}
	for _, dir := range dirs {
		s := byDir[dir]
		switch len(s.docs) {
		case 0:
			report("package-doc", dir, 0, "no package comment: say in a few lines what the package is for and how it works")
			continue
		case 1:
		default:
			report("package-doc", s.docs[1].Path, 0, "a second package comment: %s has one already", s.docs[0].Path)
		}
		want := "Package " + s.name + " "
		if s.name == "main" {
			want = "Command "
		}
		f := s.docs[0]
		if text := f.AST.Doc.Text(); !strings.HasPrefix(text, want) && !strings.HasPrefix(text, strings.TrimSpace(want)+"\n") {
			report("package-doc", f.Path, f.line(f.AST.Doc), "the package comment must begin with %q", strings.TrimSpace(want))
		}
	}
}

// checkDocs asks every exported top-level identifier and method for a comment.
// A group of constants or variables may share the group's.
func checkDocs(f *File, report reporter) {
	if f.Test || f.AST.Name.Name == "main" {
		return
	}
	missing := func(n ast.Node, name string) {
		report("doc", f.Path, f.line(n), "exported %s has no comment", name)
	}
	for _, d := range f.AST.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
				missing(d, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
						missing(s, s.Name.Name)
					}
				case *ast.ValueSpec:
					i := slices.IndexFunc(s.Names, (*ast.Ident).IsExported)
					if i >= 0 && s.Doc == nil && s.Comment == nil && d.Doc == nil {
						missing(s, s.Names[i].Name)
					}
				}
			}
		}
	}
}

// exportedReceiver reports whether a function is no method, or a method of an
// exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	return ast.IsExported(receiverName(d.Recv.List[0].Type))
}

func receiverName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverName(e.X)
	case *ast.IndexExpr:
		return receiverName(e.X)
	case *ast.IndexListExpr:
		return receiverName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// checkSignatures keeps other people's types out of what a package offers:
// parameters and results of exported functions, exported fields, methods of
// exported interfaces.
func checkSignatures(f *File, law *Law, report reporter) {
	if f.Test || f.AST.Name.Name == "main" {
		return
	}
	foreign := map[string]string{}
	for name, p := range importNames(f) {
		h, _, third := law.house(p)
		if third && !h.Public {
			foreign[name] = p
		}
	}
	look := func(owner string, n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := sel.X.(*ast.Ident); ok && foreign[id.Name] != "" {
					report("signature", f.Path, f.line(sel), "exported %s shows %s.%s: wrap it in a type of ours", owner, id.Name, sel.Sel.Name)
				}
			}
			return true
		})
	}
	for _, d := range f.AST.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) {
				look(d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			if d.Tok != token.TYPE {
				continue
			}
			for _, s := range d.Specs {
				if ts := s.(*ast.TypeSpec); ts.Name.IsExported() {
					lookType(ts, look)
				}
			}
		}
	}
}

// lookType looks at what an exported type shows: its exported fields and
// methods, or all of it when it is neither struct nor interface.
func lookType(ts *ast.TypeSpec, look func(string, ast.Node)) {
	var fields *ast.FieldList
	switch t := ts.Type.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		look(ts.Name.Name, ts.Type)
		return
	}
	for _, fd := range fields.List {
		if len(fd.Names) == 0 || slices.ContainsFunc(fd.Names, (*ast.Ident).IsExported) {
			look(ts.Name.Name, fd.Type)
		}
	}
}
