package shape

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// The content types of batches.
const (
	typeJSON           = "application/json"
	typeNDJSON         = "application/jsonl"
	typeLengthPrefixed = "application/x-length-prefixed"
)

// framing is how elements stand in a batch.
type framing struct {
	name        string
	contentType string
	around      int // bytes of a batch besides its elements
	between     int // and for every element but the first
}

// framings are those of Batch.Format.
var framings = map[string]framing{
	JSON:           {JSON, typeJSON, len("[]"), len(",")},
	NDJSON:         {NDJSON, typeNDJSON, 0, len("\n")},
	LengthPrefixed: {LengthPrefixed, typeLengthPrefixed, 0, 0},
}

// element is a payload as it stands in a batch. A payload that is JSON stands in
// JSON as it is, on one line; another one as {"base64":"…"}, and so does JSON of
// just that shape, so that undoing it is never a guess.
func (f framing) element(payload []byte) []byte {
	if f.name == LengthPrefixed {
		out := binary.AppendUvarint(make([]byte, 0, len(payload)+binary.MaxVarintLen32), uint64(len(payload)))
		return append(out, payload...)
	}
	if !json.Valid(payload) || !utf8.Valid(payload) || looksWrapped(payload) {
		return wrap(payload)
	}
	if bytes.IndexByte(payload, '\n') < 0 && bytes.IndexByte(payload, '\r') < 0 {
		return payload
	}
	var line bytes.Buffer
	_ = json.Compact(&line, payload) // it is valid
	return line.Bytes()
}

func wrap(payload []byte) []byte {
	out := make([]byte, 0, len(`{"base64":""}`)+base64.StdEncoding.EncodedLen(len(payload)))
	out = append(out, `{"base64":`...)
	out = strconv.AppendQuote(out, base64.StdEncoding.EncodeToString(payload))
	return append(out, '}')
}

// looksWrapped reports whether JSON could be taken for what wrap makes.
func looksWrapped(payload []byte) bool {
	_, ok := unwrap(payload)
	return ok
}

// names reports whether JSON may have a key, which may be written with escapes.
func names(text []byte, key string) bool {
	return bytes.Contains(text, []byte(key)) || bytes.Contains(text, []byte(`\u`))
}

// unwrap undoes wrap.
func unwrap(element []byte) (payload []byte, ok bool) {
	if !names(element, "base64") { // as nearly all: to look is cheaper than to read
		return nil, false
	}
	var w map[string]json.RawMessage
	if json.Unmarshal(element, &w) != nil || len(w) != 1 {
		return nil, false
	}
	var text *string
	if raw, has := w["base64"]; !has || json.Unmarshal(raw, &text) != nil || text == nil {
		return nil, false
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(*text)
	return payload, err == nil
}

// join makes a batch of elements.
func (f framing) join(elements []element) []byte {
	n := f.around
	for _, e := range elements {
		n += len(e.data) + f.between
	}
	out := make([]byte, 0, n)
	if f.name == JSON {
		out = append(out, '[')
	}
	for i, e := range elements {
		if i > 0 {
			switch f.name {
			case JSON:
				out = append(out, ',')
			case NDJSON:
				out = append(out, '\n')
			}
		}
		out = append(out, e.data...)
	}
	if f.name == JSON {
		out = append(out, ']')
	}
	return out
}
