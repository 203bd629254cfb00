package lint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options say what is known beyond the documents.
type Options struct {
	Gateway  Gateway // whose ARNs requests have; empty fields are not compared
	Things   string  // registry file, which says what goes together; empty for none
	Together bool    // without a registry: all documents belong to one principal
	Stdin    io.Reader
}

// Report is what was found.
type Report struct {
	Documents  int
	Findings   []Finding // by file, line and column
	Suppressed []Finding // what a person accepted, each with the reason
}

// From lists the findings of a severity or a graver one.
func (r *Report) From(s Severity) []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Severity >= s {
			out = append(out, f)
		}
	}
	return out
}

// Files judges files and the *.json files in folders; "-" is standard input.
// An error means that something could not be read; what is wrong in a document
// is a finding.
func Files(paths []string, o Options) (*Report, error) {
	l := &loader{}
	for _, path := range paths {
		if err := l.path(path, o.Stdin); err != nil {
			return nil, err
		}
	}
	if len(l.sources) == 0 {
		return nil, fmt.Errorf("no *.json file in %s: name policy documents or folders with them", strings.Join(paths, ", "))
	}
	return judge(l.sources, l.sidecars, o)
}

// Documents judges documents that are in memory already.
func Documents(sources []Source, o Options) (*Report, error) { return judge(sources, nil, o) }

// loader collects documents and the suppressions beside them.
type loader struct {
	sources  []Source
	sidecars []*sidecar
	seen     map[string]bool
}

func (l *loader) path(path string, stdin io.Reader) error {
	if path == "-" {
		if stdin == nil {
			return errors.New("there is no standard input to read")
		}
		raw, err := io.ReadAll(io.LimitReader(stdin, maxFile+1))
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		l.sources = append(l.sources, Source{Name: "stdin", File: "stdin", Text: raw})
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%w; name policy documents or folders with them", err)
	}
	if !info.IsDir() {
		if err := l.sidecar(filepath.Dir(path), false); err != nil {
			return err
		}
		return l.file(path)
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != path && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir():
			return l.sidecar(p, true)
		case strings.EqualFold(filepath.Ext(p), ".json") && !strings.HasPrefix(d.Name(), "."):
			return l.file(p) // x.JSON too: a Deny that nobody reads
		}
		return nil
	})
}

// file reads a document once, however often it is named.
func (l *loader) file(path string) error {
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	if l.seen[filepath.Clean(path)] {
		return nil
	}
	l.seen[filepath.Clean(path)] = true
	raw, err := readFile(path, maxFile+1)
	if err != nil {
		return err
	}
	l.sources = append(l.sources, Source{Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), File: path, Text: raw})
	return nil
}

// readFile reads at most limit bytes of a regular file.
func readFile(path string, limit int64) ([]byte, error) {
	// A FIFO is found out before it is opened, which would wait for a writer.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file; name a policy document, or - for standard input", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no regular file", path), err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return raw, nil
}

// judge parses, lets the rules look at every set, and takes away what is
// suppressed.
func judge(sources []Source, sidecars []*sidecar, o Options) (*Report, error) {
	report := &Report{Documents: len(sources)}
	var sound []*document
	var all []*document
	for _, src := range sources {
		d, faults := parseDocument(src)
		all = append(all, d)
		for _, f := range faults {
			report.Findings = append(report.Findings, faultFinding(d, f))
		}
		if !slices.ContainsFunc(faults, func(f fault) bool { return !f.size }) {
			sound = append(sound, d)
		}
	}
	sets, crowded, err := group(sound, len(sound) == len(sources), o)
	if err != nil {
		return nil, err
	}
	i := &inspector{gateway: o.Gateway, usual: usualOf(sound), found: map[place]*Finding{}}
	for _, rule := range catalogue() {
		i.rule = &rule
		for _, s := range sets {
			i.set = s
			rule.find(i)
		}
	}
	for _, f := range i.found {
		report.Findings = append(report.Findings, *f)
	}
	report.Findings = append(report.Findings, crowded...)
	suppress(report, all, sidecars)
	sortFindings(report.Findings)
	sortFindings(report.Suppressed)
	return report, nil
}

// faultFinding is L00.
func faultFinding(d *document, f fault) Finding {
	out := newFinding(d, f.offset, f.offset)
	out.Rule, out.Title, out.Severity, out.Message, out.Fix = invalid.ID, invalid.Title, invalid.Severity, f.text, f.remedy
	return out
}

// group says which documents are judged together.
func group(documents []*document, complete bool, o Options) (sets []*set, crowded []Finding, err error) {
	if o.Things == "" {
		if o.Together {
			s := newSet(documents...)
			s.known, s.owner = complete, ""
			return []*set{s}, nil, nil
		}
		for _, d := range documents {
			sets = append(sets, newSet(d))
		}
		return sets, nil, nil
	}
	raw, err := readFile(o.Things, 16<<20)
	if err != nil {
		return nil, nil, fmt.Errorf("the registry: %w", err)
	}
	r, err := parseRegistry(o.Things, raw)
	if err != nil {
		return nil, nil, err
	}
	named := map[string]*document{}
	for _, d := range documents {
		if old := named[d.source.Name]; old != nil {
			return nil, nil, fmt.Errorf("%s and %s are both policy %s to the registry; name only one of them", old.source.File, d.source.File, d.source.Name)
		}
		named[d.source.Name] = d
	}
	sets, loose := r.sets(named)
	for _, d := range loose {
		sets = append(sets, newSet(d))
	}
	return sets, r.crowded(), nil
}
