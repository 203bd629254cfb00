package billing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// twice finds a key that stands twice in an object of JSON: of two prices the last one
// would be taken, without a word. Keys that differ in case are one to the reader of a
// price list. The text is valid JSON.
func twice(data []byte) error {
	in := json.NewDecoder(bytes.NewReader(data))
	_, err := twiceIn(in, "")
	return err
}

// twiceIn reads one value that stands at a path; end is set when it was the end of an
// object or array instead.
func twiceIn(in *json.Decoder, path string) (end bool, err error) {
	token, err := in.Token()
	if err != nil {
		return true, nil // whoever reads the list says what is wrong with it
	}
	switch token {
	case json.Delim('}'), json.Delim(']'):
		return true, nil
	case json.Delim('['):
		for i := 0; ; i++ {
			if end, err := twiceIn(in, fmt.Sprintf("%s[%d]", path, i)); end || err != nil {
				return false, err
			}
		}
	case json.Delim('{'):
		seen := map[string]bool{}
		for in.More() {
			key, err := in.Token()
			name, ok := key.(string)
			if err != nil || !ok {
				return true, nil
			}
			at := strings.TrimPrefix(path+"."+name, ".")
			folded := strings.ToLower(name)
			if seen[folded] {
				return false, fmt.Errorf("%s stands there twice: take one of them out", at)
			}
			seen[folded] = true
			if _, err := twiceIn(in, at); err != nil {
				return false, err
			}
		}
		_, _ = in.Token() // its end
	}
	return false, nil
}
