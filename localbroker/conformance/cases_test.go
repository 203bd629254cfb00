package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
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

	Export string `json:"export"`            // spooled (as it is without) or direct
	Strict bool   `json:"strict_emqx_codes"` // as the option
	Write  string `json:"json_bitmap"`       // as the option
	Range  string `json:"range"`             // as the option

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
		for _, e := range c.Expect {
			if soon(e) && number(e["step"]) == n {
				b.expect(e)
			}
		}
	}
	for _, e := range c.Expect {
		if !soon(e) {
			b.expect(e)
		}
	}
}

// soon reports whether an expectation is looked at right after its step: what files
// there are then. Else it is in the end, when all has come.
func soon(e map[string]json.RawMessage) bool {
	return e["step"] != nil && (hasKey(e, "file") || hasKey(e, "no_file"))
}

// parts divides an expectation that says several things: each code, each file, and
// what it says of messages or of an answer over HTTP.
func parts(e map[string]json.RawMessage) (all []map[string]json.RawMessage) {
	rest := map[string]json.RawMessage{}
	for _, key := range slices.Sorted(maps.Keys(e)) {
		if !slices.Contains(ofCodes, key) && key != "file" && key != "no_file" {
			rest[key] = e[key]
			continue
		}
		part := map[string]json.RawMessage{key: e[key]}
		for _, about := range []string{"step", "client"} {
			if e[about] != nil {
				part[about] = e[about]
			}
		}
		all = append(all, part)
	}
	if count(rest, ofMessages) > 0 || rest["status"] != nil {
		all = append(all, rest)
	}
	return all
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
	other.Expect = nil
	for _, e := range c.Expect {
		other.Expect = append(other.Expect, parts(e)...)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Ours)) {
		switch key {
		case "expect":
			var instead []map[string]json.RawMessage
			_ = json.Unmarshal(c.Ours[key], &instead) // checked
			other.Expect = nil
			for _, e := range instead {
				other.Expect = append(other.Expect, parts(e)...)
			}
		case "file", "no_file":
			other.Expect = slices.DeleteFunc(other.Expect, func(e map[string]json.RawMessage) bool { return e["file"] != nil || hasKey(e, "no_file") })
			other.Expect = append(other.Expect, map[string]json.RawMessage{key: c.Ours[key]})
		default:
			n, fields, _ := c.oursOf(key) // checked
			other.override(n, fields)
		}
	}
	return &other
}

// ofMessages are what an expectation says of messages.
var ofMessages = []string{
	"topic", "fields", "cbor_fields", "absent_fields", "no_message", "payload_json", "payload_b64", "payload", "retain", "correlation_data",
	"after_puback", "count", "block_numbers", "messages", "p_encoding", "content",
}

// override changes what is expected of one step: codes each for itself, and what is
// said of its messages as a whole.
func (c *fileCase) override(n int, fields map[string]json.RawMessage) {
	step := json.RawMessage(strconv.Itoa(n))
	of := func(e map[string]json.RawMessage, keys []string) bool {
		return string(e["step"]) == string(step) && count(e, keys) > 0
	}
	message := map[string]json.RawMessage{}
	for field, value := range fields {
		if slices.Contains(ofCodes, field) {
			c.Expect = slices.DeleteFunc(c.Expect, func(e map[string]json.RawMessage) bool { return of(e, []string{field}) })
			c.Expect = append(c.Expect, map[string]json.RawMessage{"step": step, field: value})
			continue
		}
		message[field] = value
	}
	if len(message) == 0 {
		return
	}
	c.Expect = slices.DeleteFunc(c.Expect, func(e map[string]json.RawMessage) bool { return of(e, ofMessages) })
	if word := message["reason_description"]; word != nil {
		code := message["reason_code"]
		if code == nil {
			code = json.RawMessage("128")
		}
		delete(message, "reason_description")
		delete(message, "reason_code")
		message["topic"] = quoted(responses + c.clientOf(n))
		message["fields"] = json.RawMessage(fmt.Sprintf(`{"vsn":"0.1","topic":"@step","packet_id":"@step","reason_code":%s,"reason_description":%s}`, code, word))
	}
	message["step"] = step
	c.Expect = append(c.Expect, message)
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
