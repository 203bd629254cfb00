package conformance

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference/aws-conformance.md")

// basis is what a statement rests on.
type basis string

const (
	documented basis = "documented"
	observed   basis = "observed"
	guessed    basis = "guessed"
)

// row is one statement, and what the broker makes of it.
type row struct {
	id    string
	mqtt  string // versions: any, 3.1.1, 5 or HTTP
	what  string // stimulus and behaviour
	basis basis
	guess string // the part of a documented or observed row that is a guess

	key     string // the switch of a guess or of a disagreement: a key of the configuration
	why     string // a guess without a switch: why it needs none
	differs string // how the broker does otherwise, and why
}

// status is the row's as the page has it.
func (r row) status() string {
	switch {
	case r.differs != "":
		return "differs"
	case r.key != "":
		return "switch"
	}
	return "as AWS"
}

// section is a part of the specification.
type section struct {
	title string
	rows  []row
}

// sections are the rows in the specification's order.
func sections() []section {
	return []section{
		{"CONNECT and CONNACK", connectRows()},
		{"Sessions", sessionRows()},
		{"PUBLISH", publishRows()},
		{"Delivery", deliveryRows()},
		{"SUBSCRIBE and UNSUBSCRIBE", subscribeRows()},
		{"Retained messages", retainedRows()},
		{"Wills", willRows()},
		{"Shared subscriptions", shareRows()},
		{"DISCONNECT and lifecycle events", eventRows()},
		{"HTTP and direct messages", httpRows()},
	}
}

const (
	firstRow, lastRow = 14, 203

	page   = "../../docs/reference/aws-conformance.md"
	manual = "../../docs/configuration.md"
)

// Reasons of guesses that need no switch.
const (
	onlyCode = "a device that takes every code from 0x80 as a failure sees no difference"
	byMQTT   = "MQTT itself demands it"
)

// TestRows holds the tables to the specification, to the tests and to the page.
func TestRows(t *testing.T) {
	tests, keys := testsOf(t), keysOf(t)
	next := firstRow
	for _, s := range sections() {
		for _, r := range s.rows {
			if want := "B" + strconv.Itoa(next); r.id != want {
				t.Fatalf("%s: row %s comes where %s is due", s.title, r.id, want)
			}
			next++
			for _, problem := range r.problems(keys) {
				t.Errorf("%s: %s", r.id, problem)
			}
			if !tests[r.id] {
				t.Errorf("%s: there is no test Test%s_…", r.id, r.id)
			}
		}
	}
	if next != lastRow+1 {
		t.Errorf("the rows end before B%d", lastRow)
	}
	want := render()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != want {
		t.Errorf("%s is not what the rows say (%v): go test ./localbroker/conformance -update", page, err)
	}
}

func (r row) problems(keys string) (out []string) {
	if r.what == "" || !slices.Contains([]string{"any", "3.1.1", "5", "HTTP"}, r.mqtt) {
		out = append(out, "says nothing, or of no version")
	}
	if !slices.Contains([]basis{documented, observed, guessed}, r.basis) {
		out = append(out, "rests on nothing")
	}
	open := r.basis == guessed || r.guess != ""
	if open && r.key == "" && r.why == "" {
		out = append(out, "is a guess, and has neither a switch nor a reason to need none")
	}
	if !open && r.why != "" {
		out = append(out, "is no guess, and says why it needs no switch")
	}
	if r.differs != "" && !open {
		out = append(out, "is known, and the broker does otherwise")
	}
	for key := range strings.FieldsSeq(r.key) {
		if !strings.Contains(keys, "| `"+key+"` |") {
			out = append(out, "has the switch "+key+", which "+manual+" does not know")
		}
	}
	return out
}

// testsOf lists the ids that have a test in this folder.
func testsOf(t *testing.T) map[string]bool {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^Test(B[0-9]+)_[A-Z]`)
	out := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && name.MatchString(f.Name.Name) {
				id := name.FindStringSubmatch(f.Name.Name)[1]
				if out[id] {
					t.Errorf("%s has two tests", id)
				}
				out[id] = true
			}
		}
	}
	return out
}

func keysOf(t *testing.T) string {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const preface = `# What the local broker does, beside AWS IoT Core

Made by ` + "`go test ./localbroker/conformance -update`" + ` from the table that its tests are held
to: every row has a test of that name, which speaks raw packets to a listener of
profile ` + "`aws`" + ` in each version of MQTT that the row is about. Profile ` + "`aws-edge`" + `
does the same, but answers where AWS is silent, and warns where AWS would throttle.

A row is *documented* (AWS says it), *observed* (in captured packets or reports from
the field) or *guessed* (from the MQTT standard, or by elimination; nothing was tried
on a live account). Of a documented row a part may be guessed, mostly the code.
*Switch* means that a key of the configuration turns the behaviour; keys begin at
` + "`listeners[]`" + ` unless they say otherwise. A guess that stands under *as AWS* is what
AWS most probably does, and says why it needs no switch.
`

// render makes the page.
func render() string {
	var b strings.Builder
	b.WriteString(preface)
	bases := []basis{documented, observed, guessed}
	statuses := []string{"as AWS", "switch", "differs"}
	count := map[string]int{}
	for _, s := range sections() {
		for _, r := range s.rows {
			count[r.status()+"/"+string(r.basis)]++
			count[r.status()]++
		}
	}
	b.WriteString("\n| status | rows | documented | observed | guessed |\n|---|---|---|---|---|\n")
	for _, s := range statuses {
		_, _ = fmt.Fprintf(&b, "| %s | %d |", s, count[s])
		for _, basis := range bases {
			_, _ = fmt.Fprintf(&b, " %d |", count[s+"/"+string(basis)])
		}
		b.WriteString("\n")
	}
	for _, s := range sections() {
		_, _ = fmt.Fprintf(&b, "\n## %s\n\n| id | MQTT | behaviour | basis | status |\n|---|---|---|---|---|\n", s.title)
		for _, r := range s.rows {
			on := string(r.basis)
			if r.guess != "" {
				on += "; guessed: " + r.guess
			}
			_, _ = fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.id, r.mqtt, r.what, on, r.note())
		}
	}
	return b.String()
}

// note is the status with what there is to say about it.
func (r row) note() string {
	out := r.status()
	for key := range strings.FieldsSeq(r.key) {
		out += " `" + strings.TrimPrefix(key, "listeners[].") + "`"
	}
	for _, text := range []string{r.differs, r.why} {
		if text != "" {
			out += ": " + text
		}
	}
	return out
}
