package conformance

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
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
	Fixture  json.RawMessage              `json:"fixture"`
	Steps    []map[string]json.RawMessage `json:"steps"`
	Expect   []map[string]json.RawMessage `json:"expect"`
	Ours     map[string]json.RawMessage   `json:"ours"`
	Why      string                       `json:"why"`
}

// protocols are the beds that cases of a protocol run in.
var protocols = map[string]func(*testing.T, *fileCase) caseBed{
	"emqx": func(t *testing.T, c *fileCase) caseBed { return newUploadBed(t, c) },
	"aws":  func(t *testing.T, c *fileCase) caseBed { return newStreamBed(t, c) },
}

// caseBed carries the steps of one case out, and looks at what came of them.
type caseBed interface {
	// step carries out the step of that number, and returns when it has been
	// answered.
	step(n int, s map[string]json.RawMessage)

	// expect looks at one expectation, after all steps.
	expect(e map[string]json.RawMessage)
}

// TestFileCases runs the cases of a file: those of testdata, or of
// EBBGATE_FILE_CASES.
func TestFileCases(t *testing.T) {
	for _, c := range readCases(t, cmp.Or(os.Getenv("EBBGATE_FILE_CASES"), "testdata/files/cases.jsonl")) {
		t.Run(c.ID, func(t *testing.T) {
			bed := protocols[c.Protocol]
			if bed == nil {
				t.Fatalf("no bed for protocol %q: those of protocols are spoken", c.Protocol)
			}
			t.Parallel()
			t.Log(c.Why)
			c.prefer()
			b := bed(t, c)
			for n, s := range c.Steps {
				b.step(n, s)
			}
			for _, e := range c.Expect {
				b.expect(e)
			}
		})
	}
}

func readCases(t *testing.T, path string) (cases []*fileCase) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		c := &fileCase{}
		if err := json.Unmarshal(lines.Bytes(), c); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		cases = append(cases, c)
	}
	if err := lines.Err(); err != nil || len(cases) == 0 {
		t.Fatalf("%s: %d cases, %v", path, len(cases), err)
	}
	return cases
}

// prefer puts what the gateway does otherwise (ours) in the place of what EMQX
// or AWS does.
func (c *fileCase) prefer() {
	for key, value := range c.Ours {
		switch {
		case key == "no_file":
			c.Expect = slices.DeleteFunc(c.Expect, func(e map[string]json.RawMessage) bool { return e["file"] != nil })
			c.Expect = append(c.Expect, map[string]json.RawMessage{"no_file": nil})
		case key == "puback_rc" || key == "reason_description":
			c.override(0, key, value)
		case strings.HasPrefix(key, "step"):
			number, field, one := strings.Cut(strings.TrimPrefix(key, "step"), "_")
			n, err := strconv.Atoi(number)
			if err != nil {
				panic("ours: " + key)
			}
			if one {
				c.override(n, field, value)
				continue
			}
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(value, &fields); err != nil {
				panic("ours: " + key)
			}
			for field, value := range fields {
				c.override(n, field, value)
			}
		}
	}
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
	client := c.text(n, "client")
	c.Expect = append(c.Expect, map[string]json.RawMessage{
		"step": json.RawMessage(strconv.Itoa(n)), "topic": quoted("$file-response/" + client),
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
