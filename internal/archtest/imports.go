package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// checkImports enforces layers (our own packages) and houses (everybody
// else's).
func checkImports(f *File, law *Law, report reporter) {
	f.imports(func(p string, spec *ast.ImportSpec) {
		if own, ok := strings.CutPrefix(p, law.Module+"/"); ok {
			checkLayer(f, law, own, spec, report)
			return
		}
		if first, _, _ := strings.Cut(f.Dir, "/"); first == "bridge" && !f.Test {
			checkDomain(f, p, spec, report)
			return
		}
		h, known, third := law.house(p)
		switch {
		case !third:
		case !known:
			report("house", f.Path, f.line(spec), "%s has no house: name the one folder that may import it in internal/archtest", p)
		case len(h.Packages) > 0 && !slices.Contains(h.Packages, p):
			report("house", f.Path, f.line(spec), "of %s only %s may be imported", h.Module, strings.Join(h.Packages, ", "))
		case anyCovers(h.Folders, f.Dir), f.Test && anyCovers(h.Tests, f.Dir):
		case len(h.Folders) == 0:
			report("house", f.Path, f.line(spec), "only tests may import %s", p)
		default:
			report("house", f.Path, f.line(spec), "only %s may import %s", strings.Join(h.Folders, ", "), p)
		}
	})
}

// checkDomain keeps bridge to the standard library and x/sync.
func checkDomain(f *File, p string, spec *ast.ImportSpec, report reporter) {
	first, _, _ := strings.Cut(p, "/")
	if strings.Contains(first, ".") && p != "golang.org/x/sync" && !strings.HasPrefix(p, "golang.org/x/sync/") {
		report("layer", f.Path, f.line(spec), "bridge imports the standard library and golang.org/x/sync only, not %s", p)
	}
}

func checkLayer(f *File, law *Law, own string, spec *ast.ImportSpec, report reporter) {
	y, ok := law.layer(f.Dir)
	if !ok {
		report("layer", f.Path, f.line(spec), "%s has no layer: say in internal/archtest what it may import", f.Dir)
		return
	}
	if own == f.Dir || strings.HasPrefix(own, f.Dir+"/") || anyCovers(y.May, own) {
		return
	}
	if f.Test && anyCovers(law.TestImports, own) {
		return
	}
	may := "nothing of ours"
	if len(y.May) > 0 {
		may = strings.Join(y.May, ", ") + " only"
	}
	report("layer", f.Path, f.line(spec), "%s may import %s, not %s", f.Dir, may, own)
}

// checkTop keeps the top level to the folders and files of the design.
func checkTop(t *Tree, law *Law, report reporter) {
	for _, name := range t.Top {
		if !slices.Contains(law.Top, name) {
			report("top-level", name, 0, "not a name of the design: put it below internal, docs or packaging")
		}
	}
}

// checkFolders refuses drawers: packages named after nothing.
func checkFolders(t *Tree, law *Law, report reporter) {
	seen := map[string]bool{}
	for _, f := range t.Files {
		if seen[f.Dir] {
			continue
		}
		seen[f.Dir] = true
		for _, name := range []string{path.Base(f.Dir), strings.TrimSuffix(f.AST.Name.Name, "_test")} {
			if slices.Contains(law.Drawers, name) {
				report("drawer", f.Dir, 0, "a package named %q holds anything: name it after what it gives", name)
				break
			}
		}
	}
}
