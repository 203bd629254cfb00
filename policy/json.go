package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a document may nest; the grammar needs seven.
const maxDepth = 16

// node is a JSON value that remembers where it stood and what it said twice:
// encoding/json's own decoding keeps the last of duplicate keys and matches
// keys without regard to case, and so takes what AWS refuses.
type node struct {
	kind   byte // '{' '[' 's' 'n' 'b' '0': object, array, string, number, boolean, null
	text   string
	offset int
	fields []field
	items  []*node
}

type field struct {
	name   string
	offset int
	value  *node
}

// syntaxError is a place in a text that is not acceptable JSON.
type syntaxError struct {
	offset int
	text   string
}

func (e *syntaxError) Error() string { return e.text }

// readJSON reads one JSON value and nothing else.
func readJSON(raw []byte) (*node, error) {
	if text := wrongEncoding(raw); text != "" {
		return nil, &syntaxError{0, text}
	}
	if i := invalidUTF8(raw); i >= 0 {
		return nil, &syntaxError{i, "the text is not valid UTF-8"}
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, &syntaxError{0, "the document is empty"}
	}
	var valid json.RawMessage
	if err := json.Unmarshal(raw, &valid); err != nil {
		offset := len(raw)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = max(int(syntax.Offset)-1, 0)
		}
		return nil, &syntaxError{offset, "not JSON: " + err.Error()}
	}
	r := &jsonReader{raw: raw, decoder: json.NewDecoder(bytes.NewReader(raw))}
	r.decoder.UseNumber()
	return r.value(0)
}

// wrongEncoding names what editors put before a text, and JSON does not have:
// what follows would be told as a strange character otherwise.
func wrongEncoding(raw []byte) string {
	switch {
	case bytes.HasPrefix(raw, []byte("\uFEFF")):
		return "the text begins with a byte order mark: save the file as UTF-8 without one"
	case bytes.HasPrefix(raw, []byte{0xff, 0xfe}), bytes.HasPrefix(raw, []byte{0xfe, 0xff}):
		return "the text is UTF-16: save the file as UTF-8 without a byte order mark"
	}
	return ""
}

func invalidUTF8(raw []byte) int {
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// jsonReader walks over text that is known to be JSON.
type jsonReader struct {
	raw     []byte
	decoder *json.Decoder
}

// token returns the next token and where it starts.
func (r *jsonReader) token() (json.Token, int, error) {
	i := int(r.decoder.InputOffset())
	for i < len(r.raw) && strings.IndexByte(" \t\r\n,:", r.raw[i]) >= 0 {
		i++
	}
	token, err := r.decoder.Token()
	if err != nil {
		return nil, i, &syntaxError{i, "not JSON: " + err.Error()}
	}
	if text, ok := token.(string); ok && strings.ContainsRune(text, utf8.RuneError) {
		// The decoder makes U+FFFD of half a surrogate pair.
		source := bytes.ToLower(r.raw[i:r.decoder.InputOffset()])
		if bytes.Contains(source, []byte(`\ud`)) {
			return nil, i, &syntaxError{i, "an escape names half a character"}
		}
	}
	return token, i, nil
}

func (r *jsonReader) value(depth int) (*node, error) {
	token, offset, err := r.token()
	if err != nil {
		return nil, err
	}
	n := &node{kind: '0', offset: offset}
	switch t := token.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, &syntaxError{offset, "the document nests too deep"}
		}
		n.kind = byte(t)
		return n, r.members(n, depth)
	case string:
		n.kind, n.text = 's', t
	case json.Number:
		n.kind, n.text = 'n', t.String()
	case bool:
		n.kind, n.text = 'b', "false"
		if t {
			n.text = "true"
		}
	}
	return n, nil
}

// members reads the rest of an object or array.
func (r *jsonReader) members(n *node, depth int) error {
	for r.decoder.More() {
		var f field
		if n.kind == '{' {
			token, offset, err := r.token()
			if err != nil {
				return err
			}
			f.name, _ = token.(string)
			f.offset = offset
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		if n.kind == '{' {
			f.value = value
			n.fields = append(n.fields, f)
		} else {
			n.items = append(n.items, value)
		}
	}
	_, _, err := r.token()
	return err
}

// position turns an offset into line and column, both from 1.
func position(raw []byte, offset int) (line, column int) {
	before := raw[:min(offset, len(raw))]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}
