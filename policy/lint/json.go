package lint

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep a document may nest; the grammar needs seven.
const maxDepth = 16

// node is a JSON value with its place. Members keep their order and what is
// there twice, which encoding/json would hide.
type node struct {
	kind   byte // '{' '[' 's' 'n' 'b' '0': object, array, string, number, boolean, null
	text   string
	offset int // of the first byte
	end    int // behind the last byte
	fields []field
	items  []*node
}

type field struct {
	name  *node
	value *node
}

// list is a value, or the items of an array.
func (n *node) list() []*node {
	if n.kind == '[' {
		return n.items
	}
	return []*node{n}
}

func (n *node) typeName() string {
	return map[byte]string{'{': "an object", '[': "a list", 's': "a string", 'n': "a number", 'b': "true or false", '0': "null"}[n.kind]
}

// syntaxError is a place in a text that is not JSON.
type syntaxError struct {
	offset int
	text   string
}

func (e *syntaxError) Error() string { return e.text }

// readJSON reads one value of RFC 8259 and nothing behind it.
func readJSON(raw []byte) (*node, error) {
	switch {
	case bytes.HasPrefix(raw, []byte("\uFEFF")):
		return nil, &syntaxError{0, "the text begins with a byte order mark: save the file as UTF-8 without one"}
	case bytes.HasPrefix(raw, []byte{0xff, 0xfe}), bytes.HasPrefix(raw, []byte{0xfe, 0xff}):
		return nil, &syntaxError{0, "the text is UTF-16: save the file as UTF-8 without a byte order mark"}
	}
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && size == 1 {
			return nil, &syntaxError{i, "the text is not valid UTF-8"}
		}
		i += size
	}
	s := &scanner{raw: string(raw)}
	s.space()
	if s.at == len(s.raw) {
		return nil, &syntaxError{0, "the document is empty"}
	}
	n, err := s.value(0)
	if err != nil {
		return nil, err
	}
	if s.space(); s.at < len(s.raw) {
		return nil, s.failf("not JSON: something stands behind the end")
	}
	return n, nil
}

// scanner reads JSON from left to right.
type scanner struct {
	raw string
	at  int
}

func (s *scanner) failf(format string, args ...any) error {
	return &syntaxError{s.at, fmt.Sprintf(format, args...)}
}

func (s *scanner) space() {
	for s.at < len(s.raw) && strings.IndexByte(" \t\r\n", s.raw[s.at]) >= 0 {
		s.at++
	}
}

// next is the byte at the place, 0 at the end.
func (s *scanner) next() byte {
	if s.at == len(s.raw) {
		return 0
	}
	return s.raw[s.at]
}

// unexpected says what stands here instead of what is needed.
func (s *scanner) unexpected(needed string) error {
	if s.at == len(s.raw) {
		return s.failf("not JSON: the text ends where %s is needed", needed)
	}
	r, _ := utf8.DecodeRuneInString(s.raw[s.at:])
	return s.failf("not JSON: %q stands where %s is needed", r, needed)
}

func (s *scanner) value(depth int) (*node, error) {
	n := &node{offset: s.at}
	var err error
	switch c := s.next(); {
	case c == '{' || c == '[':
		if depth == maxDepth {
			return nil, s.failf("the document nests deeper than %d", maxDepth)
		}
		n.kind = c
		err = s.members(n, depth)
	case c == '"':
		n.kind = 's'
		n.text, err = s.text(nil)
	case c == '-' || c >= '0' && c <= '9':
		n.kind = 'n'
		n.text, err = s.number()
	default:
		err = s.word(n)
	}
	n.end = s.at
	return n, err
}

func (s *scanner) word(n *node) error {
	for word, kind := range map[string]byte{"true": 'b', "false": 'b', "null": '0'} {
		if strings.HasPrefix(s.raw[s.at:], word) {
			n.kind, n.text = kind, word
			s.at += len(word)
			return nil
		}
	}
	return s.unexpected("a value")
}

// members reads an object or an array from its bracket on.
func (s *scanner) members(n *node, depth int) error {
	closing := n.kind + 2 // ']' and '}' stand two behind their partners
	s.at++
	for first := true; ; first = false {
		s.space()
		if s.next() == closing && first {
			break
		}
		if !first {
			if s.next() == closing {
				break
			}
			if s.next() != ',' {
				return s.unexpected("a comma or " + strconv.Quote(string(closing)))
			}
			s.at++
			s.space()
		}
		if err := s.member(n, depth); err != nil {
			return err
		}
	}
	s.at++
	return nil
}

func (s *scanner) member(n *node, depth int) error {
	var f field
	if n.kind == '{' {
		if s.next() != '"' {
			return s.unexpected("a name in quotes")
		}
		f.name = &node{kind: 's', offset: s.at}
		var err error
		if f.name.text, err = s.text(nil); err != nil {
			return err
		}
		f.name.end = s.at
		if s.space(); s.next() != ':' {
			return s.unexpected("a colon")
		}
		s.at++
		s.space()
	}
	v, err := s.value(depth + 1)
	if err != nil {
		return err
	}
	if f.value = v; n.kind == '{' {
		n.fields = append(n.fields, f)
	} else {
		n.items = append(n.items, v)
	}
	return nil
}

func (s *scanner) number() (string, error) {
	start := s.at
	digits := func() bool {
		from := s.at
		for c := s.next(); c >= '0' && c <= '9'; c = s.next() {
			s.at++
		}
		return s.at > from
	}
	if s.next() == '-' {
		s.at++
	}
	ok := true
	if s.next() == '0' {
		s.at++
	} else {
		ok = digits()
	}
	if ok && s.next() == '.' {
		s.at++
		ok = digits()
	}
	if c := s.next(); ok && (c == 'e' || c == 'E') {
		if s.at++; s.next() == '+' || s.next() == '-' {
			s.at++
		}
		ok = digits()
	}
	if !ok {
		return "", s.unexpected("a digit")
	}
	return s.raw[start:s.at], nil
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// text reads a string from its quote on. Each byte of the result has its
// source's offset appended to places, when that is not nil.
func (s *scanner) text(places *[]int) (string, error) {
	var out strings.Builder
	put := func(from int, text string) {
		out.WriteString(text)
		for range len(text) {
			if places != nil {
				*places = append(*places, from)
			}
		}
	}
	s.at++
	for {
		from := s.at
		switch c := s.next(); {
		case s.at == len(s.raw):
			return "", s.unexpected("a closing quote")
		case c == '"':
			s.at++
			return out.String(), nil
		case c < ' ':
			return "", s.failf("not JSON: a control character stands in a string")
		case c == '\\':
			text, err := s.escape()
			if err != nil {
				return "", err
			}
			put(from, text)
		default:
			_, size := utf8.DecodeRuneInString(s.raw[s.at:])
			s.at += size
			put(from, s.raw[from:s.at])
		}
	}
}

func (s *scanner) escape() (string, error) {
	s.at++
	c := s.next()
	if plain, ok := escapes[c]; ok {
		s.at++
		return string(plain), nil
	}
	if c != 'u' {
		return "", s.failf("not JSON: \\%c is no escape", rune(c))
	}
	r, err := s.unit()
	if err != nil {
		return "", err
	}
	if utf16.IsSurrogate(r) {
		low := rune(utf8.RuneError)
		if strings.HasPrefix(s.raw[s.at:], `\u`) {
			s.at++
			if low, err = s.unit(); err != nil {
				return "", err
			}
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return "", s.failf("an escape names half a character")
		}
	}
	return string(r), nil
}

// unit reads the four digits behind a "u".
func (s *scanner) unit() (rune, error) {
	s.at++
	if len(s.raw)-s.at < 4 {
		return 0, s.failf("not JSON: four hex digits are needed behind \\u")
	}
	v, err := strconv.ParseUint(s.raw[s.at:s.at+4], 16, 16)
	if err != nil {
		return 0, s.failf("not JSON: four hex digits are needed behind \\u")
	}
	s.at += 4
	return rune(v), nil
}
