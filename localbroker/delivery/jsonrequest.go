package delivery

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// jsonFields is a request in JSON. Names are compared exactly, which a struct's
// fields would not be.
type jsonFields struct {
	values  map[string]json.RawMessage
	bitmaps string // Options.JSONBitmap
}

func readJSON(payload []byte, bitmaps string) (fields, *Fault) {
	f := jsonFields{bitmaps: bitmaps}
	if !json.Valid(payload) {
		return nil, faultf(InvalidJSON, "the request is not valid JSON") // F72
	}
	if json.Unmarshal(payload, &f.values) != nil || f.values == nil {
		return nil, faultf(InvalidRequest, "the request is not a JSON object")
	}
	return f, nil
}

func (f jsonFields) value(name string) json.RawMessage {
	if v := f.values[name]; !bytes.Equal(v, []byte("null")) {
		return v
	}
	return nil
}

func (f jsonFields) text(name string) (value string, present, ok bool) {
	v := f.value(name)
	if v == nil {
		return "", false, true
	}
	return value, true, v[0] == '"' && json.Unmarshal(v, &value) == nil
}

func (f jsonFields) integer(name string) (value int64, present, ok bool) {
	v := f.value(name)
	if v == nil {
		return 0, false, true
	}
	text := string(v)
	if v[0] == '"' { // AWS takes numbers as texts (F75)
		if json.Unmarshal(v, &text) != nil {
			return 0, true, false
		}
	}
	value, ok = parseInteger(text)
	return value, true, ok
}

// maxInteger is beyond every bound of a request.
const maxInteger = 1 << 40

// parseInteger reads an integer as JSON writes it, or as a device's printf does.
func parseInteger(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(n, 0) {
		return 0, false
	}
	return integerOf(n)
}

// integerOf is a number without a fraction; one that is too large becomes
// one that every bound refuses.
func integerOf(n float64) (int64, bool) {
	if n != math.Trunc(n) { // NaN too
		return 0, false
	}
	return int64(min(max(n, -maxInteger), maxInteger)), true
}
