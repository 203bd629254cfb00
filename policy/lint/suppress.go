package lint

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A suppression says that a person has looked at a finding and accepts it.
// JSON has no comments, and AWS refuses elements that it does not know; two
// places keep a document valid at AWS:
//
//   - its own Id element, which the grammar leaves to the author:
//     "Id": "lint:ignore L17@Connect readers keep sessions; lint:ignore L33 kept for the audit"
//   - .lint.yaml in the document's folder, which the gateway passes over.
type suppression struct {
	rule      string
	policy    string // empty in an Id, where it is the document's own
	statement string // a Sid or an index; empty is the whole document
	reason    string
	finding   Finding // where it stands, for L90 and L91
	own       *document
	whole     bool // that the folder was read whole, so that its policy must be there
	used      bool
}

// sidecarName is the file of suppressions in a folder of documents.
const sidecarName = ".lint.yaml"

// sidecar is one such file.
type sidecar struct {
	file string
	raw  []byte
	all  bool // the folder's documents are all judged
}

// sidecar reads the file beside documents, when there is one.
func (l *loader) sidecar(folder string, all bool) error {
	file := filepath.Join(folder, sidecarName)
	for _, s := range l.sidecars {
		if s.file == file {
			s.all = s.all || all
			return nil
		}
	}
	raw, err := readFile(file, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l.sidecars = append(l.sidecars, &sidecar{file, raw, all})
	return nil
}

// parse reads the entries of a sidecar; what is wrong in it is L91.
func (s *sidecar) parse() (out []*suppression, wrong []Finding) {
	complain := func(line, column int, message, fix string) {
		f := Finding{Rule: unusable.ID, Severity: unusable.Severity, Title: unusable.Title, File: s.file, Line: line, Column: column, EndLine: line, EndColumn: column, Message: message, Fix: unusable.Fix}
		if fix != "" {
			f.Fix = fix
		}
		wrong = append(wrong, f)
	}
	var file struct {
		Suppressions []yaml.Node `yaml:"suppressions"`
	}
	if err := decodeYAML(s.raw, &file); err != nil {
		complain(err.line, err.column, err.text, err.remedy)
		return nil, wrong
	}
	for _, n := range file.Suppressions {
		fields := map[string]string{}
		if err := n.Decode(&fields); err != nil {
			complain(n.Line, n.Column, "this is no suppression", "")
			continue
		}
		x := &suppression{rule: fields["rule"], policy: fields["policy"], statement: fields["statement"], reason: strings.TrimSpace(fields["reason"]), whole: s.all}
		x.finding = Finding{File: s.file, Line: n.Line, Column: n.Column, EndLine: n.Line, EndColumn: n.Column, Policy: x.policy}
		problem := x.problem()
		for _, key := range sorted(fields) {
			if !strings.Contains(" policy rule statement reason ", " "+key+" ") {
				problem = fmt.Sprintf("%q is not known; possible are policy, rule, statement and reason", key)
			}
		}
		if x.policy == "" && problem == "" {
			problem = "the suppression names no policy"
		}
		if problem != "" {
			complain(n.Line, n.Column, problem, "")
			continue
		}
		out = append(out, x)
	}
	return out, wrong
}

// problem says why a suppression has no effect; empty when it has.
func (x *suppression) problem() string {
	if _, known := ruleOf(x.rule); !known {
		return "there is no rule " + quote(x.rule)
	}
	switch x.rule {
	case invalid.ID, unused.ID, unusable.ID:
		return x.rule + " cannot be suppressed"
	}
	if x.reason == "" {
		return "the suppression of " + x.rule + " gives no reason"
	}
	return ""
}

var inlineForm = regexp.MustCompile(`^lint:ignore(?:\s+([^\s@;]+)(?:@([A-Za-z0-9]+))?)?\s*(.*)$`)

// inline reads the suppressions in a document's Id.
func inline(d *document) (out []*suppression, wrong []Finding) {
	if d.id == nil || d.id.kind != 's' {
		return nil, nil
	}
	for _, part := range strings.Split(d.id.text, ";") {
		m := inlineForm.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			continue // an Id of the user's own
		}
		x := &suppression{rule: m[1], statement: m[2], reason: strings.TrimSpace(m[3]), own: d, whole: true, finding: newFinding(d, d.id.offset, d.id.end)}
		if text := x.problem(); text != "" {
			f := x.finding
			f.Rule, f.Severity, f.Title, f.Message, f.Fix = unusable.ID, unusable.Severity, unusable.Title, text, unusable.Fix
			wrong = append(wrong, f)
			continue
		}
		out = append(out, x)
	}
	return out, wrong
}

// accepts reports whether the suppression is about a finding.
func (x *suppression) accepts(f *Finding) bool {
	if f.Rule != x.rule {
		return false
	}
	if x.own != nil {
		if f.File != x.own.source.File || f.Policy != x.own.source.Name {
			return false
		}
	} else if f.Policy != x.policy || filepath.Dir(f.File) != filepath.Dir(x.finding.File) {
		return false
	}
	if x.statement == "" {
		return true
	}
	return f.Statement != nil && (f.Sid == x.statement && f.Sid != "" || strconv.Itoa(*f.Statement) == x.statement)
}

// suppress takes away what is accepted, and reports what accepts nothing.
func suppress(r *Report, documents []*document, sidecars []*sidecar) {
	var all []*suppression
	var wrong []Finding
	present := map[string]bool{}
	for _, d := range documents {
		present[filepath.Dir(d.source.File)+"\x00"+d.source.Name] = true
		x, w := inline(d)
		all, wrong = append(all, x...), append(wrong, w...)
	}
	for _, s := range sidecars {
		x, w := s.parse()
		all, wrong = append(all, x...), append(wrong, w...)
	}
	var left []Finding
	for _, f := range r.Findings {
		for _, x := range all {
			if x.accepts(&f) {
				x.used = true
				f.Suppressed = x.reason
			}
		}
		if f.Suppressed == "" {
			left = append(left, f)
		} else {
			r.Suppressed = append(r.Suppressed, f)
		}
	}
	for _, x := range all {
		judged := x.whole || present[filepath.Dir(x.finding.File)+"\x00"+x.policy]
		if x.used || !judged {
			continue
		}
		f := x.finding
		f.Rule, f.Severity, f.Title, f.Fix = unused.ID, unused.Severity, unused.Title, unused.Fix
		f.Message = "nothing that it points at has a finding of " + x.rule
		if x.statement != "" {
			f.Message += ", or there is no statement " + x.statement
		}
		left = append(left, f)
	}
	r.Findings = append(left, wrong...)
}
