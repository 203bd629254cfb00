package upload

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
)

// maxMeta bounds the payload of init.
const maxMeta = 16 << 10

// meta is what init says of a file.
type meta struct {
	Name        string          `json:"name"`
	Size        *int64          `json:"size,omitempty"`
	Checksum    string          `json:"checksum,omitempty"` // upper-case hex, as EMQX writes it
	ExpireAt    *int64          `json:"expire_at,omitempty"`
	SegmentsTTL *int64          `json:"segments_ttl,omitempty"`
	UserData    json.RawMessage `json:"user_data,omitempty"`

	data *checksum // of UserData in the one form of its value; nil: not computed
}

// parseMeta takes the payload of init, which is hostile until then.
func parseMeta(payload []byte) (*meta, error) {
	if len(payload) > maxMeta {
		return nil, errMetaForGood
	}
	if !utf8.Valid(payload) {
		return nil, errJSON // the decoder would put U+FFFD there, and call the file otherwise
	}
	var fields map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(payload))
	if err := d.Decode(&fields); err != nil || fields == nil {
		if err == nil || isTypeError(err) {
			return nil, errMeta // valid JSON, but no object
		}
		return nil, errJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errJSON // something follows
	}
	m := &meta{}
	name, ok := present(fields, "name")
	if !ok || json.Unmarshal(name, &m.Name) != nil || halfCharacter(name) || !validName(m.Name) {
		return nil, errMeta
	}
	if strings.HasSuffix(strings.ToLower(m.Name), strings.ToLower(bridge.ManifestSuffix)) {
		return nil, errMetaForGood // it would stand where another file's manifest is
	}
	for _, f := range []struct {
		key   string
		least int64
		into  **int64
	}{{"size", 0, &m.Size}, {"expire_at", 0, &m.ExpireAt}, {"segments_ttl", 1, &m.SegmentsTTL}} {
		raw, ok := present(fields, f.key)
		if !ok {
			continue
		}
		n, ok := wholeNumber(raw)
		if !ok || n < f.least {
			return nil, errMeta
		}
		*f.into = &n
	}
	if raw, ok := present(fields, "checksum"); ok {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return nil, errMeta
		}
		if _, ok := parseChecksum(text); !ok {
			return nil, errMeta
		}
		m.Checksum = strings.ToUpper(text)
	}
	if raw, ok := present(fields, "user_data"); ok {
		m.UserData = append(json.RawMessage(nil), raw...)
		m.value() // now, when nobody waits for it
	}
	return m, nil
}

// halfCharacter reports whether a JSON text escapes a surrogate without its other
// half. The decoder would take it for U+FFFD, which a name may have.
func halfCharacter(raw json.RawMessage) bool {
	text := string(raw)
	for {
		_, escape, more := strings.Cut(text, `\`)
		if !more {
			return false
		}
		if text = escape[1:]; escape[0] != 'u' { // of valid JSON, so something follows
			continue
		}
		first := escaped(escape)
		text = escape[5:]
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, whole := strings.CutPrefix(text, `\`)
		if !whole || second[0] != 'u' || utf16.DecodeRune(first, escaped(second)) == utf8.RuneError {
			return true
		}
		text = second[5:]
	}
}

// escaped is the number of an escape in valid JSON: u and four hex digits.
func escaped(text string) rune {
	n, err := strconv.ParseUint(text[1:5], 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n) //nolint:gosec // 16 bits
}

func isTypeError(err error) bool {
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}

// present finds a field; null counts as absent.
func present(fields map[string]json.RawMessage, key string) (json.RawMessage, bool) {
	raw, ok := fields[key]
	return raw, ok && string(bytes.TrimSpace(raw)) != "null"
}

// wholeNumber takes an integer, in quotes too: EMQX coerces those.
func wholeNumber(raw json.RawMessage) (int64, bool) {
	text := strings.TrimSpace(string(raw))
	if strings.HasPrefix(text, `"`) {
		if json.Unmarshal(raw, &text) != nil {
			return 0, false
		}
	}
	n, ok := parseNumber(text)
	return n, ok && n < math.MaxInt64
}

// equal compares decoded values: the order of keys does not matter, nor the case
// of the checksum.
func (m *meta) equal(o *meta) bool {
	return m.Name == o.Name && m.Checksum == o.Checksum && same(m.Size, o.Size) && same(m.ExpireAt, o.ExpireAt) &&
		same(m.SegmentsTTL, o.SegmentsTTL) && same(m.value(), o.value())
}

func same[T comparable](a, b *T) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// value is the checksum of what UserData says, nil when it says nothing. To compare
// values as JSON would take as long as to read both, each time, with all clients
// waiting.
func (m *meta) value() *checksum {
	if m.data == nil && m.UserData != nil {
		var v any
		form, err := []byte(nil), decodeNumbers(m.UserData, &v)
		if err == nil {
			form, err = json.Marshal(v) // keys in order, no spaces, numbers as they were written
		}
		if err != nil { // JSON that was parsed
			form = m.UserData
		}
		sum := checksum(sha256.Sum256(form))
		m.data = &sum
	}
	return m.data
}

func decodeNumbers(raw json.RawMessage, into *any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(into)
}

// sum is the checksum that init gave, or nil.
func (m *meta) sum() *checksum {
	sum, _ := parseChecksum(m.Checksum)
	return sum
}

// complete is the JSON of it that goes with a whole file: with the checksum that
// was computed when the device gave none.
func (m *meta) complete(computed *checksum) ([]byte, error) {
	out := *m
	if out.Checksum == "" {
		out.Checksum = strings.ToUpper(computed.String())
	}
	return json.Marshal(out)
}
