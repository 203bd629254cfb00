// Package payload reads what devices publish: JSON or CBOR, whichever it is. It is
// the only importer of the CBOR library. What it reads may be hostile, so depth
// and size of what is decoded are bounded by the decoders.
package payload

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// ErrUnreadable is returned for a payload that is neither JSON nor CBOR.
var ErrUnreadable = errors.New("the payload is neither JSON nor CBOR")

// ErrTooMany is returned for a payload of more values than are read.
var ErrTooMany = fmt.Errorf("the payload has more than %d values", maxValues)

// Decode reads a payload. JSON begins with an ASCII character and a CBOR map,
// array or tag with a byte above them, so one look tells them apart; CBOR that is
// a mere number or text is not recognised. Maps are map[string]any of JSON and
// map[any]any of CBOR, numbers float64 of JSON.
func Decode(payload []byte) (v any, err error) {
	switch {
	case len(payload) == 0:
		return nil, ErrUnreadable
	case payload[0] >= 0x80 && manyBinary(payload), payload[0] < 0x80 && many(payload):
		return nil, ErrTooMany
	case payload[0] >= 0x80:
		err = binaryMode.Unmarshal(payload, &v)
	default:
		err = json.Unmarshal(payload, &v)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return v, nil
}

// binaryMode decodes CBOR. It is immutable; the options are right, so making it
// cannot fail.
var binaryMode = func() cbor.DecMode {
	mode, err := cbor.DecOptions{MaxNestedLevels: 32, DupMapKey: cbor.DupMapKeyEnforcedAPF}.DecMode()
	if err != nil {
		panic("payload: " + err.Error())
	}
	return mode
}()

// Field is the place of a value in a payload, such as "temp", "data.temp" or
// "values[0].v"; "" is the payload itself.
type Field struct {
	text  string
	steps []step
}

type step struct {
	key   string
	index int // -1: key counts
}

// maxSteps bounds the depth of a field.
const maxSteps = 16

// ParseField reads a field as people write it.
func ParseField(text string) (Field, error) {
	f := Field{text: text}
	if text == "" || text == "." {
		return f, nil
	}
	for part := range strings.SplitSeq(text, ".") {
		key, rest, listed := strings.Cut(part, "[")
		if key == "" && (rest == "" || len(f.steps) > 0) {
			return f, fmt.Errorf("%q has a name of no characters", text)
		}
		if key != "" {
			f.steps = append(f.steps, step{key, -1})
		}
		for ; listed; listed = rest != "" {
			num, after, closed := strings.Cut(rest, "]")
			n, err := strconv.ParseUint(num, 10, 16)
			if !closed || err != nil || after != "" && !strings.HasPrefix(after, "[") {
				return f, fmt.Errorf("%q has a [ ] that is not the number of an entry", text)
			}
			f.steps = append(f.steps, step{index: int(n)})
			rest = strings.TrimPrefix(after, "[")
		}
	}
	if len(f.steps) > maxSteps {
		return f, fmt.Errorf("%q is more than %d levels deep", text, maxSteps)
	}
	return f, nil
}

// String is the field as it was written.
func (f Field) String() string { return f.text }

// Number finds the number at the field. A boolean counts as 0 or 1.
func (f Field) Number(v any) (float64, bool) {
	for _, s := range f.steps {
		switch at := v.(type) {
		case map[string]any:
			v = at[s.key]
		case map[any]any:
			v = at[s.key]
		case []any:
			if s.index < 0 || s.index >= len(at) {
				return 0, false
			}
			v = at[s.index]
		default:
			return 0, false
		}
	}
	switch n := v.(type) {
	case float64:
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return 0, false
		}
		return n, true
	case float32:
		return Field{}.Number(float64(n))
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case bool:
		if n {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
