package configs

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// script is a configuration of testdata. Comments at its head say what
// surrounds it:
//
//	# env NAME=value       an environment variable
//	# set key=value        a --set flag
//	# want code problem    a problem that must be found, as "config check" says it
type script struct {
	yaml, body string // with and without the wants
	env, sets  []string
	want       []string
}

func readScript(t testing.TB, path string) script {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := script{yaml: string(data)}
	for line := range strings.Lines(s.yaml) {
		text := strings.TrimSuffix(line, "\n")
		if w, ok := strings.CutPrefix(text, "# want "); ok {
			s.want = append(s.want, w)
			continue
		}
		s.body += line
		if e, ok := strings.CutPrefix(text, "# env "); ok {
			s.env = append(s.env, e)
		}
		if e, ok := strings.CutPrefix(text, "# set "); ok {
			s.sets = append(s.sets, e)
		}
	}
	return s
}

// problems loads a script in a site of its own and writes what is wrong with
// it, the site's folder as DIR.
func (s script) problems(t testing.TB, name string) []string {
	t.Helper()
	dir := site(t)
	path := put(t, dir, name, s.yaml)
	_, err := load(source{path: path, env: s.env, sets: s.sets, hostname: func() (string, error) { return "localhost", nil }})
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*Invalid](err)
	if !ok {
		t.Fatalf("%s: %v is not an *Invalid", name, err)
	}
	var out []string
	for _, p := range invalid.Problems {
		line := p.String()
		if strings.Contains(line, "\n") || p.Text == "" || p.Remedy == "" {
			t.Errorf("%s: %q is not one line with text and remedy", name, line)
		}
		if p.Source == path && p.Line == 0 {
			t.Errorf("%s: %q names no line", name, line)
		}
		line = strings.ReplaceAll(strings.ReplaceAll(line, dir+"/"+name, name), dir, "DIR")
		out = append(out, p.Code+" "+line)
	}
	return out
}

func scripts(t testing.TB, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/%s: %v", folder, err)
	}
	return files
}

func TestBad(t *testing.T) {
	for _, file := range scripts(t, "bad") {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			s := readScript(t, file)
			if *update {
				s = expect(t, s, name)
				if err := os.WriteFile(file, []byte(s.yaml), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.problems(t, name); !slices.Equal(got, s.want) || len(got) == 0 {
				t.Errorf("found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(s.want, "\n\t"))
			}
		})
	}
}

// expect writes what a script's problems are at its head, where they move the
// lines that they name.
func expect(t *testing.T, s script, name string) script {
	t.Helper()
	s.yaml = s.body
	n := len(s.problems(t, name))
	s.yaml = strings.Repeat("# want\n", n) + s.body
	s.want = s.problems(t, name)
	s.yaml = s.body
	for _, w := range slices.Backward(s.want) {
		s.yaml = "# want " + w + "\n" + s.yaml
	}
	return s
}

// No rejection is without a bad file, or a test by name.
func TestEveryCodeHasABadFile(t *testing.T) {
	seen := map[string]bool{
		codeRead:  true, // TestReadFailures
		codeValue: true, // TestTextTypes: no type of today's Options has it
	}
	for _, file := range scripts(t, "bad") {
		for _, w := range readScript(t, file).want {
			code, _, _ := strings.Cut(w, " ")
			seen[code] = true
		}
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := []string{"spool", "policy", "broker", "routes", "streams", "upstream", "billing", "file-transfer"}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "code") {
			code, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			codes = append(codes, code)
		}
		return true
	})
	if len(codes) < 20 {
		t.Fatalf("found only the codes %q", codes)
	}
	for _, c := range codes {
		if !seen[c] {
			t.Errorf("no bad file has the code %s", c)
		}
		delete(seen, c)
	}
	if len(seen) > 0 {
		t.Errorf("bad files have unknown codes: %q", slices.Sorted(maps.Keys(seen)))
	}
}
