package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestEbbgate holds this repository to its law.
func TestEbbgate(t *testing.T) {
	root := os.DirFS(filepath.Join("..", ".."))
	if _, err := fs.Stat(root, "go.mod"); err != nil {
		t.Fatalf("not run inside the repository: %v", err)
	}
	tree, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Check(tree, Ebbgate()) {
		t.Error(v)
	}
}

// TestLaw breaks every rule on purpose. Each file of testdata is a small tree
// whose file "want" lists the violations that Check must find, as
// "path:line: rule"; exceptions of the tree are in "exceptions", one a line as
// "rule path".
func TestLaw(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			tree, want, exceptions := readCase(t, file)
			law := Ebbgate()
			law.MaxLines = 20
			law.Exceptions = exceptions
			var got []string
			for _, v := range Check(tree, law) {
				s := v.Path
				if v.Line > 0 {
					s += fmt.Sprintf(":%d", v.Line)
				}
				got = append(got, s+": "+v.Rule)
			}
			if !slices.Equal(got, want) {
				t.Errorf("found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		})
	}
}

// TestEveryRuleIsBroken makes sure that no rule is without a case.
func TestEveryRuleIsBroken(t *testing.T) {
	rules := []string{
		"layer", "house", "signature", "top-level", "drawer", "package-doc", "doc",
		"length", "note", "init", "state", "sleep", "logger", "stale-exception",
	}
	var all strings.Builder
	cases, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range cases {
		_, want, _ := readCase(t, file)
		all.WriteString(strings.Join(want, "\n") + "\n")
	}
	for _, r := range rules {
		if !strings.Contains(all.String(), ": "+r+"\n") {
			t.Errorf("no case of testdata breaks %s", r)
		}
	}
}

func readCase(t *testing.T, file string) (tree *Tree, want []string, exceptions []Exception) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	src := fstest.MapFS{}
	for _, f := range archive.Files {
		switch f.Name {
		case "want":
			want = lines(f.Data)
		case "exceptions":
			for _, l := range lines(f.Data) {
				rule, path, _ := strings.Cut(l, " ")
				exceptions = append(exceptions, Exception{Rule: rule, Path: path, Reason: "a case"})
			}
		default:
			src[f.Name] = &fstest.MapFile{Data: f.Data}
		}
	}
	tree, err = Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return tree, want, exceptions
}

func lines(b []byte) []string {
	return slices.DeleteFunc(strings.Split(string(b), "\n"), func(s string) bool { return s == "" })
}
