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

// remarks are what a case, a step or an expectation may say to its reader.
var remarks = []string{"why", "note", "comment", "ref", "source", "spec", "title"}

// form is what the cases of a protocol may hold. What is not here is an error: a
// case that is not understood must not pass.
type form struct {
	steps  map[string][]string // the kinds, with what else they may say
	expect []string            // besides what both may say
	bed    func(*testing.T, *fileCase) caseBed
}

// ofCodes are the parts of an expectation about how a packet was acknowledged, and
// how a connection ended.
var ofCodes = []string{"puback_rc", "puback_rc_any", "pubrec_rc", "suback_rc", "connack_rc", "session_present", "disconnected", "disconnect_rc"}

// ofAll may stand in each expectation.
var ofAll = slices.Concat([]string{"step", "client", "qos"}, ofCodes, []string{
	"topic", "fields", "absent_fields", "no_message", "payload_json", "payload_b64", "payload", "retain", "correlation_data", "count",
})

// steps are the steps of both protocols, and those of one.
func steps(more map[string][]string) map[string][]string {
	all := map[string][]string{
		"publish":         {"client", "qos", "payload_json", "payload_b64", "payload", "retain", "dup", "packet_id", "response_topic", "correlation_data", "cbor_diag"},
		"subscribe":       {"client", "qos"},
		"unsubscribe":     {"client"},
		"connect":         {"client"},
		"disconnect":      {"client"},
		"advance_seconds": {"client", "run_gc"},
		"restart_server":  {"client"},
		"cloud":           {"client"},
	}
	maps.Copy(all, more)
	return all
}

var forms = map[string]form{
	"emqx": {
		steps: steps(map[string][]string{
			"http_get": {"client"},
			"run_gc":   nil,
		}),
		expect: []string{"after_puback", "file", "no_file", "status", "code", "content_type"},
		bed:    func(t *testing.T, c *fileCase) caseBed { return newUploadBed(t, c) },
	},
	"aws": {
		steps: steps(map[string][]string{
			"repeat_as_clients":   nil,
			"update_stream":       nil,
			"cloud_stream":        nil,
			"cloud_update_stream": nil,
		}),
		expect: []string{"cbor_fields", "block_numbers", "messages", "p_encoding", "content", "cloud_requests_for_bytes", "each_client_gets_blocks"},
		bed:    func(t *testing.T, c *fileCase) caseBed { return newStreamBed(t, c) },
	},
}

// kinds are the kinds of steps.
var kinds = []string{
	"publish", "subscribe", "unsubscribe", "connect", "disconnect", "advance_seconds", "restart_server", "cloud", "http_get",
	"repeat_as_clients", "update_stream", "cloud_stream", "cloud_update_stream", "run_gc",
}

// kindOf is the kind of a step.
func kindOf(s map[string]json.RawMessage) string {
	at := slices.IndexFunc(kinds, func(kind string) bool { return hasKey(s, kind) })
	if at < 0 {
		return ""
	}
	return kinds[at]
}

// compares reports whether an expectation expects anything, and does not only say of
// what.
func compares(e map[string]json.RawMessage) bool {
	return count(e, ofCodes) > 0 || count(e, ofMessages) > 0 || e["status"] != nil || hasKey(e, "file") || hasKey(e, "no_file") ||
		e["cloud_requests_for_bytes"] != nil || e["each_client_gets_blocks"] != nil
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
		switch c.wrong = strict(withoutRemarks(lines.Bytes()), &fileCase{}); {
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

// withoutRemarks is an object of JSON without what it says to its reader.
func withoutRemarks(raw []byte) []byte {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return raw // no object: its reader says so
	}
	for _, r := range remarks {
		delete(fields, r)
	}
	raw, _ = json.Marshal(fields) // of what has just been decoded
	return raw
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
	case !slices.Contains([]string{"", "spooled", "direct"}, c.Export):
		return fmt.Errorf("export %q is not known", c.Export)
	case !slices.Contains([]string{"", "auto", "base64", "hex"}, c.Write):
		return fmt.Errorf("json_bitmap %q is not known", c.Write)
	case !slices.Contains([]string{"", "strict", "lenient"}, c.Range):
		return fmt.Errorf("range %q is not known", c.Range)
	case !slices.Contains([]byte{0, 4, 5}, c.Proto):
		return fmt.Errorf("client_proto %d is not spoken", c.Proto)
	case len(c.Steps) == 0 || len(c.Expect) == 0:
		return fmt.Errorf("it does or expects nothing")
	}
	for n, s := range c.Steps {
		if err := understood(s, f.steps); err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
		for _, kind := range []string{"publish", "subscribe", "unsubscribe", "connect", "disconnect"} {
			if s[kind] != nil && c.clientOf(n) == "" {
				return fmt.Errorf("step %d: it does not say which client", n)
			}
		}
	}
	if err := c.expects(f, c.Expect); err != nil {
		return err
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

// expects reports what of the expectations is not in the form.
func (c *fileCase) expects(f form, all []map[string]json.RawMessage) error {
	for i, e := range all {
		known := slices.Concat(ofAll, f.expect, remarks)
		for _, key := range slices.Sorted(maps.Keys(e)) {
			if !slices.Contains(known, key) {
				return fmt.Errorf("expectation %d: %q is not understood", i, key)
			}
		}
		n, err := strconv.Atoi(string(e["step"]))
		_, about := e["step"]
		switch {
		case about && (err != nil || n < 0 || n >= len(c.Steps)):
			return fmt.Errorf("expectation %d: there is no step %s", i, e["step"])
		case !compares(e):
			return fmt.Errorf("expectation %d: it expects nothing: %q", i, slices.Sorted(maps.Keys(e)))
		case !about && (e["status"] != nil || count(e, ofCodes) > 0 && e["client"] == nil):
			return fmt.Errorf("expectation %d: it does not say of which step", i)
		}
	}
	return nil
}

// understood reports what of a step is not in the form.
func understood(s map[string]json.RawMessage, known map[string][]string) error {
	if len(s) == 0 {
		return fmt.Errorf("it is empty")
	}
	kind := kindOf(s)
	more, ours := known[kind]
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if !ours || key != kind && !slices.Contains(more, key) && !slices.Contains(remarks, key) {
			return fmt.Errorf("%q is not understood, of %q", key, slices.Sorted(maps.Keys(s)))
		}
	}
	return nil
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
	f := forms[c.Protocol]
	switch key {
	case "expect":
		var instead []map[string]json.RawMessage
		if err := json.Unmarshal(c.Ours[key], &instead); err != nil {
			return fmt.Errorf("ours, expect: %w", err)
		}
		return c.expects(f, instead)
	case "file", "no_file":
		return nil
	}
	n, fields, err := c.oursOf(key)
	if err == nil && n >= len(c.Steps) {
		err = fmt.Errorf("there is no such step")
	}
	for field := range fields {
		if !slices.Contains(slices.Concat(ofAll, f.expect, []string{"reason_description", "reason_code"}), field) && err == nil {
			err = fmt.Errorf("%q is not understood", field)
		}
	}
	if err != nil {
		return fmt.Errorf("ours, %s: %w", key, err)
	}
	return nil
}

// oursOf reads one entry of ours: the step it is about, and what is otherwise
// there.
func (c *fileCase) oursOf(key string) (n int, fields map[string]json.RawMessage, err error) {
	value := c.Ours[key]
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
