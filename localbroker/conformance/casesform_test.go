package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// levels say where a case comes from (files.md §10).
var levels = []string{"emqx", "emqx-quirk", "spec", "doc", "doc-hex", "observed", "ours"}

// form is what the cases of a protocol may hold. What is not here is an error: a
// case that is not understood must not pass.
type form struct {
	steps  map[string][]string // the kinds, with what else they may say
	expect map[string][]string
	bed    func(*testing.T, *fileCase) caseBed
}

var forms = map[string]form{
	"emqx": {
		steps: map[string][]string{
			"publish":         {"client", "qos", "payload_json", "payload_b64", "retain", "dup", "response_topic", "correlation_data"},
			"subscribe":       {"client"},
			"connect":         {"client"},
			"disconnect":      {"client"},
			"http_get":        nil,
			"advance_seconds": {"run_gc"},
			"restart_server":  nil,
		},
		expect: map[string][]string{
			"puback_rc": {"step"}, "puback_rc_any": {"step"}, "pubrec_rc": {"step"}, "suback_rc": {"step"},
			"fields":     {"step", "topic", "qos", "after_puback", "no_message", "absent_fields", "correlation_data"},
			"no_message": {"step"},
			"file":       nil, "no_file": nil,
			"status": {"step", "code", "fields"},
		},
		bed: func(t *testing.T, c *fileCase) caseBed { return newUploadBed(t, c) },
	},
	"aws": {
		steps: map[string][]string{
			"publish":             {"client", "qos", "payload_json", "payload_b64", "cbor_diag"},
			"subscribe":           {"client"},
			"connect":             {"client"},
			"disconnect":          {"client"},
			"repeat_as_clients":   nil,
			"update_stream":       nil,
			"cloud_stream":        nil,
			"cloud_update_stream": nil,
			"cloud":               nil,
		},
		expect: map[string][]string{
			"fields":                   {"step", "topic", "qos", "no_message", "absent_fields"},
			"cbor_fields":              {"step", "topic", "qos", "no_message", "absent_fields"},
			"block_numbers":            {"step", "topic", "qos", "no_message", "messages", "p_encoding"},
			"no_message":               {"step", "topic"},
			"content":                  {"step"},
			"cloud_requests_for_bytes": nil,
			"each_client_gets_blocks":  nil,
		},
		bed: func(t *testing.T, c *fileCase) caseBed { return newStreamBed(t, c) },
	},
}

// caseFiles are the files of cases to run.
func caseFiles(t *testing.T) []string {
	t.Helper()
	if path := os.Getenv("EBBGATE_FILE_CASES"); path != "" {
		return []string{path}
	}
	paths, err := filepath.Glob(filepath.Join("testdata", "files", "*.jsonl"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("cases in testdata/files: %q, %v", paths, err)
	}
	return paths
}

// readCases reads a file of cases. One that is not understood says so (wrong), and
// the others run.
func readCases(path string) (cases []*fileCase, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines, ids := bufio.NewScanner(bytes.NewReader(text)), map[string]bool{}
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		c := &fileCase{}
		if err := json.Unmarshal(lines.Bytes(), c); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		switch c.wrong = strict(lines.Bytes(), &fileCase{}); {
		case c.wrong == nil && ids[c.ID]:
			c.wrong = fmt.Errorf("%s:%d: the id has been used", path, n)
		case c.wrong == nil:
			c.wrong = c.check()
		}
		ids[c.ID] = true
		cases = append(cases, c)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("%s holds no case", path)
	}
	return cases, nil
}

// strict decodes JSON that has no field but those of into.
func strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// check reports what of a case the beds do not understand.
func (c *fileCase) check() error {
	f, ok := forms[c.Protocol]
	switch {
	case c.ID == "":
		return fmt.Errorf("it has no id")
	case !ok:
		return fmt.Errorf("protocol %q is not known", c.Protocol)
	case !slices.Contains(levels, c.Level):
		return fmt.Errorf("level %q is not known", c.Level)
	case !slices.Contains([]string{"", "aws", "aws-edge", "mqtt"}, c.Profile):
		return fmt.Errorf("profile %q is not known", c.Profile)
	case !slices.Contains([]string{"", "local", "s3"}, c.Exporter):
		return fmt.Errorf("exporter %q is not known", c.Exporter)
	case !slices.Contains([]byte{0, 4, 5}, c.Proto):
		return fmt.Errorf("client_proto %d is not spoken", c.Proto)
	case len(c.Steps) == 0 || len(c.Expect) == 0:
		return fmt.Errorf("it does or expects nothing")
	}
	for n, s := range c.Steps {
		if err := understood(s, f.steps); err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
	}
	for i, e := range c.Expect {
		if err := understood(e, f.expect); err != nil {
			return fmt.Errorf("expectation %d: %w", i, err)
		}
		n, err := strconv.Atoi(string(e["step"]))
		if _, free := e["step"]; free && (err != nil || n < 0 || n >= len(c.Steps)) {
			return fmt.Errorf("expectation %d: there is no step %s", i, e["step"])
		}
	}
	for key := range c.Ours {
		if err := c.checkOurs(key); err != nil {
			return err
		}
	}
	if c.Lenient != nil && (c.Protocol != "aws" || !strings.Contains(c.text(len(c.Steps)-1, "publish"), "/get/json")) {
		return fmt.Errorf("lenient_alternative: it does not end with a request in JSON")
	}
	return nil
}

// understood reports what of a step or an expectation is not in the form.
func understood(s map[string]json.RawMessage, kinds map[string][]string) error {
	if len(s) == 0 {
		return fmt.Errorf("it is empty")
	}
	for kind, more := range kinds {
		if _, there := s[kind]; !there {
			continue
		}
		if len(s) == 1+count(s, more) || len(s) == 1+count(s, append([]string{"why"}, more...)) {
			return nil
		}
	}
	return fmt.Errorf("%q is not understood", slices.Sorted(maps.Keys(s)))
}

// count is how many of these keys are there.
func count(s map[string]json.RawMessage, keys []string) (n int) {
	for _, key := range keys {
		if _, there := s[key]; there {
			n++
		}
	}
	return n
}

// checkOurs looks at what the gateway does otherwise.
func (c *fileCase) checkOurs(key string) error {
	n, fields, err := c.oursOf(key)
	if err == nil && n >= len(c.Steps) {
		err = fmt.Errorf("there is no such step")
	}
	for field := range fields {
		if field != "puback_rc" && field != "reason_description" && err == nil {
			err = fmt.Errorf("%q is not understood", field)
		}
	}
	if err != nil {
		return fmt.Errorf("ours, %s: %w", key, err)
	}
	return nil
}

// oursOf reads one entry of ours: the step it is about, and what is otherwise
// there; of no_file nothing.
func (c *fileCase) oursOf(key string) (n int, fields map[string]json.RawMessage, err error) {
	value := c.Ours[key]
	if key == "no_file" {
		return 0, nil, nil
	}
	rest, ok := strings.CutPrefix(key, "step")
	if !ok {
		return 0, map[string]json.RawMessage{key: value}, nil
	}
	digits, field, one := strings.Cut(rest, "_")
	if n, err = strconv.Atoi(digits); err != nil {
		return 0, nil, err
	}
	if one {
		return n, map[string]json.RawMessage{field: value}, nil
	}
	return n, fields, json.Unmarshal(value, &fields)
}
