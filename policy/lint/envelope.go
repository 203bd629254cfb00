package lint

import (
	"bytes"
	"unicode/utf8"
)

// Source is one document to be judged.
type Source struct {
	Name   string // of the policy, as the registry names it
	File   string // what findings name
	Text   []byte // the document as AWS writes it, or what "aws iot get-policy" printed
	Target string // "thinggroup" when it is known to be attached to groups only; else empty
}

// envelope is what "aws iot get-policy" or "get-policy-version" prints around
// a document, which is a JSON string there.
type envelope struct {
	name   string
	text   []byte // the document
	places []int  // where each of its bytes is in the file
}

// unwrap finds the document in a file. A file that is no envelope is a
// document itself.
func unwrap(raw []byte) (envelope, bool) {
	root, err := readJSON(raw)
	if err != nil || root.kind != '{' {
		return envelope{}, false
	}
	var e envelope
	found := false
	for _, f := range root.fields {
		switch {
		case f.name.text == "Statement" || f.name.text == "Version":
			return envelope{}, false
		case f.name.text == "policyName" && f.value.kind == 's':
			e.name = f.value.text
		case f.name.text == "policyDocument" && f.value.kind == 's':
			s := &scanner{raw: string(raw), at: f.value.offset}
			text, err := s.text(&e.places)
			if err != nil {
				return envelope{}, false
			}
			e.text, found = []byte(text), true
			e.places = append(e.places, f.value.end-1)
		}
	}
	return e, found
}

// position turns an offset into line and column, both from 1, the column in
// characters.
func position(text []byte, offset int) (line, column int) {
	before := text[:min(offset, len(text))]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}
