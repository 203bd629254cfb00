package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	goccy "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
	"gopkg.in/yaml.v3"
)

// Bounds of a file: what is larger is a mistake, or an alias bomb.
const (
	maxFile  = 1 << 20
	maxNodes = 100_000
	maxDepth = 50
)

// readFile reads at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// yamlLayer is a YAML document on its way to a tree of map[string]any, []any
// and string; nil is a key without a value.
type yamlLayer struct {
	source   string
	nodes    int
	places   places
	problems []Problem
}

// parse reads one YAML document. The tree is nil when there is nothing to
// build on.
func (y *yamlLayer) parse(data []byte) map[string]any {
	if len(data) > maxFile {
		y.add(1, "", codeTooLarge, fmt.Sprintf("is larger than %d bytes", maxFile), "is it the right file?")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file says nothing
			y.syntax(err, data)
		}
		return nil
	}
	if err := dec.Decode(&second); err == nil {
		y.add(second.Line, "", codeDocuments, "a second document begins here", "write one document: take the --- out")
	} else if !errors.Is(err, io.EOF) {
		y.syntax(err, data)
		return nil
	}
	root := y.node(doc.Content[0], "", 0)
	switch root := root.(type) {
	case map[string]any:
		return root
	case nil:
	default:
		y.add(doc.Content[0].Line, "", codeShape, "is not a mapping", "write keys such as \"spool:\" with their values below")
	}
	return nil
}

func (y *yamlLayer) add(line int, key, code, text, remedy string) {
	y.problems = append(y.problems, Problem{y.source, max(line, 1), key, text, remedy, code})
}

// syntax reports that data is not YAML. yaml.v3 names the line where a construct
// began, goccy/go-yaml the one where it went wrong, which is what people need.
func (y *yamlLayer) syntax(err error, data []byte) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	if l, t, ok := located(data); ok {
		line, text = l, t
	} else if i := offset(text, data); i >= 0 {
		line = bytes.Count(data[:i], []byte("\n")) + 1
	}
	y.add(line, "", codeSyntax, "is not YAML: "+text, "look at the indentation, colons and quotes of this line and the one before")
}

// offset finds what both parsers complain about without saying where.
func offset(text string, data []byte) int {
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		return bytes.Index(data, []byte("*"+m[1]))
	}
	return bytes.IndexFunc(data, func(r rune) bool {
		return r == utf8.RuneError || r < ' ' && r != '\n' && r != '\r' && r != '\t'
	})
}

var unknownAnchor = regexp.MustCompile(`unknown anchor '([^']*)'`)

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// located asks the second parser where the error is. It is only asked about
// what is broken, so a panic of it is no more than an answer that is missing.
func located(data []byte) (line int, text string, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	_, err := parser.ParseBytes(data, 0)
	e, ok := errors.AsType[goccy.Error](err)
	if !ok || e.GetToken() == nil || e.GetToken().Position == nil {
		return 0, "", false
	}
	return e.GetToken().Position.Line, e.GetMessage(), true
}

// node turns a node into a tree and notes its place.
func (y *yamlLayer) node(n *yaml.Node, path string, depth int) any {
	if y.nodes++; y.nodes > maxNodes || depth > maxDepth {
		if y.nodes <= maxNodes+1 {
			y.nodes = maxNodes + 1
			y.add(n.Line, path, codeTooLarge, "has too many or too deeply nested values", "take out aliases that repeat each other")
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		line := n.Line
		v := y.node(n.Alias, path, depth+1)
		y.places[path] = place{y.source, line}
		return v
	}
	y.places[path] = place{y.source, n.Line}
	if !plainTags[n.ShortTag()] {
		y.add(n.Line, path, codeTag, fmt.Sprintf("has the tag %s, which means nothing here", quote(n.ShortTag())), "write the value without it")
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return y.mapping(n, path, depth)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			list[i] = y.node(c, indexed(path, i), depth+1)
		}
		return list
	default:
		if n.ShortTag() == "!!null" {
			return nil
		}
		return n.Value
	}
}

var plainTags = map[string]bool{
	"!!map": true, "!!seq": true, "!!str": true, "!!int": true, "!!float": true,
	"!!bool": true, "!!null": true, "!!timestamp": true, "!!merge": true,
}

func (y *yamlLayer) mapping(n *yaml.Node, path string, depth int) map[string]any {
	out := map[string]any{}
	lines := map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.ShortTag() == "!!merge" {
			merged = append(merged, v)
			continue
		}
		if k.Kind != yaml.ScalarNode {
			y.add(k.Line, path, codeShape, "has a key that is a list or a mapping", "write a name before the colon")
			continue
		}
		at := join(path, k.Value)
		if first, twice := lines[k.Value]; twice {
			y.add(k.Line, at, codeDuplicate, fmt.Sprintf("is here a second time, after line %d", first), "keep one of them")
			continue
		}
		lines[k.Value] = k.Line
		out[k.Value] = y.node(v, at, depth+1)
		y.places[at] = place{y.source, k.Line}
	}
	for _, m := range merged {
		y.merge(m, path, depth, out)
	}
	return out
}

// merge adds what "<<: *base" brings; keys that are there stay.
func (y *yamlLayer) merge(from *yaml.Node, path string, depth int, into map[string]any) {
	kept := places{}
	for k := range y.places {
		if below(k, path) {
			kept[k] = y.places[k]
		}
	}
	sources := []*yaml.Node{from}
	if from.Kind == yaml.SequenceNode {
		sources = from.Content
	}
	for _, s := range sources {
		base, ok := y.node(s, path, depth+1).(map[string]any)
		if !ok {
			y.add(s.Line, path, codeShape, `has a "<<" that is not a mapping`, "name an anchor of a mapping, as in <<: *base")
			continue
		}
		for k, v := range base {
			if _, taken := into[k]; !taken {
				into[k] = v
			}
		}
	}
	for k, p := range kept {
		y.places[k] = p
	}
	y.places[path] = place{y.source, from.Line}
}

// parseFlow reads the value of an override that is more than one text, such as
// [a, b] or {a: b}.
func parseFlow(text string, source string) (any, []Problem) {
	y := &yamlLayer{source: source, places: places{}}
	var doc yaml.Node
	var v any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		y.syntax(err, []byte(text))
	} else if len(doc.Content) > 0 {
		v = y.node(doc.Content[0], "", 0)
	}
	for i := range y.problems {
		y.problems[i].Line = 0
	}
	return v, y.problems
}

func quote(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return strconv.Quote(s)
}
