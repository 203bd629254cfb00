package policy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// What a session holds depends on the session, the texts of variables and the
// conditions of statements, and on nothing else. So after a change of documents
// the rules are asked about what is new there, and the other answers are
// inherited from the program before.

// asksOf says what the rules are asked about a document: its variables, and for
// each conditional statement what decides it.
func (d *document) asksOf() (variables map[string]bool, conditions map[int]string) {
	variables, conditions = map[string]bool{}, map[int]string{}
	for _, s := range d.statements {
		for _, r := range s.resources {
			for _, name := range r.needs {
				variables[name] = true
			}
		}
		for _, c := range s.conditions {
			if c.test.text() {
				for _, v := range c.values {
					for _, name := range variablesIn(v, c.version) {
						variables[name] = true
					}
				}
			}
		}
		if len(s.conditions) > 0 {
			conditions[s.index] = s.fingerprint()
		}
	}
	return variables, conditions
}

// fingerprint is the same for conditions that say the same.
func (s *statement) fingerprint() string {
	lines := make([]string, len(s.conditions))
	for i, c := range s.conditions {
		line, _ := json.Marshal([]any{c.version, c.written, c.name, c.values}) // strings always marshal
		lines[i] = string(line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// inheritance is what a document set takes over from the one before it.
type inheritance struct {
	names map[string]bool             // of variables that were there before
	from  map[statementID]statementID // conditional statements, and those before with the same conditions
	left  *holdings                   // what is new, for the rules; nil when nothing is
}

// inherits compares the documents of a principal before and after a change.
func (h *holdings) inherits(before, after []*document) *inheritance {
	variables, sources := map[string]bool{}, map[string]statementID{}
	for _, d := range before {
		v, conditions := d.asksOf()
		for name := range v {
			variables[name] = true
		}
		for index, key := range conditions {
			sources[key] = statementID{d.name, index}
		}
	}
	out := &inheritance{names: map[string]bool{}, from: map[statementID]statementID{}}
	newVariables, newStatements := map[string]bool{}, map[statementID]bool{}
	for _, d := range after {
		v, conditions := d.asksOf()
		for name := range v {
			if variables[name] {
				out.names[name] = true
			} else {
				newVariables[name] = true
			}
		}
		for index, key := range conditions {
			to := statementID{d.name, index}
			if from, known := sources[key]; known {
				out.from[to] = from
			} else {
				newStatements[to] = true
			}
		}
	}
	if len(newVariables)+len(newStatements) > 0 {
		out.left = h.only(after, newVariables, newStatements)
	}
	return out
}

// only asks about these documents, and there about nothing but these variables
// and statements.
func (h *holdings) only(documents []*document, variables map[string]bool, statements map[statementID]bool) *holdings {
	all, _ := h.prepared.Value.(ast.Object)
	left := ast.NewObject()
	for _, d := range documents {
		entry, ok := valueOf[ast.Object](all, d.name)
		if !ok {
			return h
		}
		conditional, okConditional := valueOf[*ast.Array](entry, "conditional")
		references, okReferences := valueOf[ast.Set](entry, "variables")
		if !okConditional || !okReferences {
			return h
		}
		keptStatements := ast.NewArray()
		conditional.Foreach(func(s *ast.Term) {
			number, _ := valueOf[ast.Number](s.Value.(ast.Object), "index")
			if index, ok := number.Int(); !ok || statements[statementID{d.name, index}] {
				keptStatements = keptStatements.Append(s)
			}
		})
		keptVariables := ast.NewSet()
		references.Foreach(func(v *ast.Term) {
			if name, ok := valueOf[ast.String](v.Value.(ast.Object), "variable"); !ok || variables[string(name)] {
				keptVariables.Add(v)
			}
		})
		left.Insert(ast.InternedTerm(d.name), ast.ObjectTerm(
			ast.Item(ast.InternedTerm("conditional"), ast.NewTerm(keptStatements)),
			ast.Item(ast.InternedTerm("variables"), ast.NewTerm(keptVariables))))
	}
	out := *h
	out.prepared = ast.NewTerm(left)
	return &out
}

// inherit takes over what a session held, and adds what is new.
func (i *inheritance) inherit(before, added held) held {
	out := held{values: before.values, statements: make(map[statementID][]conditionID, len(i.from)+len(added.statements))}
	for to, from := range i.from {
		if left, holds := before.statements[from]; holds {
			out.statements[to] = left
		}
	}
	maps.Copy(out.statements, added.statements)
	// A variable that is gone must not come back with what it stood for then.
	gone := func(name, _ string) bool { return !i.names[name] }
	for name := range before.values {
		if len(added.values) > 0 || !i.names[name] {
			out.values = maps.Clone(before.values)
			maps.DeleteFunc(out.values, gone)
			maps.Copy(out.values, added.values)
			break
		}
	}
	if len(before.values) == 0 {
		out.values = added.values
	}
	return out
}

// heirs remembers the inheritances between two snapshots, of which there are
// few: one for each combination of policies.
type heirs struct {
	holdings *holdings
	mu       sync.Mutex
	known    map[string]*inheritance
}

func (h *heirs) between(before *program, w wanted) *inheritance {
	key := strings.Join(before.policies, "\x00") + "\x00\x00" + strings.Join(w.holder.policies, "\x00")
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.known[key]
	if i == nil {
		i = h.holdings.inherits(before.documents, w.documents)
		h.known[key] = i
	}
	return i
}
