package conformance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fileCase is one line of a file of cases.
type fileCase struct {
	ID       string                       `json:"id"`
	Protocol string                       `json:"protocol"`
	Level    string                       `json:"level"`
	Profile  string                       `json:"profile"`
	Proto    byte                         `json:"client_proto"`
	Exporter string                       `json:"exporter"` // a bucket's traps must not be a folder's, so both run with a folder
	Fixture  json.RawMessage              `json:"fixture"`
	Steps    []map[string]json.RawMessage `json:"steps"`
	Expect   []map[string]json.RawMessage `json:"expect"`
	Ours     map[string]json.RawMessage   `json:"ours"`
	Lenient  *struct {
		Blocks []int `json:"block_numbers"`
	} `json:"lenient_alternative"` // what comes of the last step when the range is lenient
	Bitmap string `json:"bitmap_bytes"` // of a request, for the reader
	Why    string `json:"why"`

	wrong   error // what of it is not understood
	lenient bool  // it is run that way
}

// caseBed carries the steps of one case out, and looks at what came of them.
type caseBed interface {
	// step carries out the step of that number, and returns when it has been
	// answered.
	step(n int, s map[string]json.RawMessage)

	// expect looks at one expectation, after all steps.
	expect(e map[string]json.RawMessage)
}

// TestFileCases runs the cases of files: those of testdata, or the one that
// EBBGATE_FILE_CASES names.
func TestFileCases(t *testing.T) {
	for _, path := range caseFiles(t) {
		cases, err := readCases(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			t.Run(c.ID, func(t *testing.T) {
				t.Parallel()
				c.run(t)
			})
			if c.Lenient != nil && c.wrong == nil {
				t.Run(c.ID+"-lenient", func(t *testing.T) {
					t.Parallel()
					c.leniently().run(t)
				})
			}
		}
	}
}

func (c *fileCase) run(t *testing.T) {
	t.Log(c.Why)
	if c.wrong != nil {
		t.Fatal(c.wrong)
	}
	c = c.preferred()
	b := forms[c.Protocol].bed(t, c)
	for n, s := range c.Steps {
		b.step(n, s)
	}
	for _, e := range c.Expect {
		b.expect(e)
	}
}

// leniently is the case with range: lenient (F71): blocks come where the last step
// was refused.
func (c *fileCase) leniently() *fileCase {
	other, last := *c, len(c.Steps)-1
	blocks, _ := json.Marshal(c.Lenient.Blocks) // numbers
	other.lenient = true
	other.Expect = []map[string]json.RawMessage{{
		"step": json.RawMessage(strconv.Itoa(last)), "block_numbers": blocks, "p_encoding": quoted("base64 string"),
		"topic": quoted(strings.Replace(c.text(last, "publish"), "/get/", "/data/", 1)),
	}}
	return &other
}

// preferred is the case with what the gateway does otherwise (ours) in the place of
// what EMQX or AWS does.
func (c *fileCase) preferred() *fileCase {
	other := *c
	other.Expect = slices.Clone(c.Expect)
	for key := range c.Ours {
		if key == "no_file" {
			other.Expect = slices.DeleteFunc(other.Expect, func(e map[string]json.RawMessage) bool { return e["file"] != nil })
			other.Expect = append(other.Expect, map[string]json.RawMessage{"no_file": json.RawMessage("{}")})
			continue
		}
		n, fields, _ := c.oursOf(key) // checked
		for field, value := range fields {
			other.override(n, field, value)
		}
	}
	return &other
}

// override changes what is expected of one step.
func (c *fileCase) override(n int, field string, value json.RawMessage) {
	c.Expect = slices.DeleteFunc(c.Expect, func(e map[string]json.RawMessage) bool {
		return string(e["step"]) == strconv.Itoa(n) && (field == "puback_rc" && e["puback_rc"] != nil || field == "reason_description" && (e["fields"] != nil || e["no_message"] != nil))
	})
	if field == "puback_rc" {
		c.Expect = append(c.Expect, map[string]json.RawMessage{"step": json.RawMessage(strconv.Itoa(n)), field: value})
		return
	}
	c.Expect = append(c.Expect, map[string]json.RawMessage{
		"step": json.RawMessage(strconv.Itoa(n)), "topic": quoted(responses + c.text(n, "client")),
		"fields": json.RawMessage(fmt.Sprintf(`{"vsn":"0.1","topic":"@step","packet_id":"@step","reason_code":128,"reason_description":%s}`, value)),
	})
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string
	return b
}

// text is a text of a step, empty when there is none.
func (c *fileCase) text(n int, key string) string { return unquoted(c.Steps[n][key]) }

func unquoted(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s) // empty unless it is one
	return s
}

func number(raw json.RawMessage) (n int) {
	_ = json.Unmarshal(raw, &n) // 0 unless it is one
	return n
}

// must decodes a value of a case, which has that shape.
func must[T any](t testing.TB, raw json.RawMessage) (v T) {
	t.Helper()
	if err := strict(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// payload is what a step publishes.
func payload(t *testing.T, s map[string]json.RawMessage) []byte {
	t.Helper()
	if raw, ok := s["payload_json"]; ok {
		return raw
	}
	b, err := base64.StdEncoding.DecodeString(unquoted(s["payload_b64"]))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
