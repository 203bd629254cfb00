package delivery

import (
	"github.com/fxamacker/cbor/v2"
)

// cborFields is a request in CBOR: a map with text keys.
type cborFields map[string]cbor.RawMessage

// cborReader bounds what a request may be: the library looks at the whole for
// its form before it allocates, so that a declared length alone costs nothing
// (F74). answerReader does the same for what a cloud sends. cborWriter writes definite lengths and the shortest integers, which the C
// decoders of devices insist on. Both are immutable; their options are right, so
// making them cannot fail.
var (
	cborReader = must(cbor.DecOptions{
		MaxNestedLevels: 4, MaxMapPairs: 16, MaxArrayElements: 16,
		DupMapKey: cbor.DupMapKeyEnforcedAPF, TagsMd: cbor.TagsForbidden,
	}.DecMode())
	answerReader = must(cbor.DecOptions{
		MaxNestedLevels: 4, MaxMapPairs: 32, MaxArrayElements: maxFile + 1, TagsMd: cbor.TagsForbidden,
	}.DecMode())
	cborWriter = must(cbor.EncOptions{ShortestFloat: cbor.ShortestFloat16}.EncMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic("delivery: " + err.Error())
	}
	return v
}

func readCBOR(payload []byte) (fields, *Fault) {
	var f cborFields
	if err := cborReader.Unmarshal(payload, &f); err != nil || f == nil {
		return nil, faultf(InvalidCBOR, "the request is not a CBOR map with text keys") // F72
	}
	return f, nil
}

// value decodes one field; nil when it is not there.
func (f cborFields) value(name string) (v any, ok bool) {
	raw, there := f[name]
	if !there {
		return nil, true
	}
	return v, cborReader.Unmarshal(raw, &v) == nil
}

func (f cborFields) text(name string) (value string, present, ok bool) {
	v, ok := f.value(name)
	if v == nil {
		return "", false, ok
	}
	value, ok = v.(string)
	return value, true, ok
}

func (f cborFields) integer(name string) (value int64, present, ok bool) {
	v, ok := f.value(name)
	switch n := v.(type) {
	case nil:
		return 0, false, ok
	case uint64:
		return int64(min(n, maxInteger)), true, true
	case int64:
		return n, true, true
	case float64:
		value, ok = integerOf(n)
		return value, true, ok
	case string:
		value, ok = parseInteger(n)
		return value, true, ok
	}
	return 0, true, false
}

func (f cborFields) bitmap(name string) ([]byte, bool, *Fault) {
	v, ok := f.value(name)
	if v == nil && ok {
		return nil, false, nil
	}
	bits, ok := v.([]byte)
	if !ok { // AWS was seen to say so of a text
		return nil, true, faultf(InvalidCBOR, "b, the bitmap, must be a byte string")
	}
	return checkedBitmap(bits)
}
