package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCasesAreLoud: a case that the runner does not understand fails, and so does
// a file without cases. What is passed over in silence shows nothing.
func TestCasesAreLoud(t *testing.T) {
	t.Parallel()
	const step, expect = `{"client":"c1","publish":"$file/f1/init","qos":1}`, `{"step":0,"puback_rc":0}`
	of := func(more, step, expect string) string {
		return `{"id":"X","protocol":"emqx","level":"emqx","why":"w"` + more + `,"steps":[` + step + `],"expect":[` + expect + `]}`
	}
	dir := t.TempDir()
	read := func(text string) error {
		path := filepath.Join(dir, "cases.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cases, err := readCases(path)
		if err == nil {
			err = cases[len(cases)-1].wrong
		}
		return err
	}
	for name, c := range map[string]struct{ text, says string }{
		"an empty file":         {"", "no case"},
		"only blank lines":      {"\n \n", "no case"},
		"no JSON":               {"{", "unexpected end of JSON"},
		"an array":              {"[]", "cannot unmarshal"},
		"no id":                 {`{}`, "no id"},
		"an id twice":           {of("", step, expect) + "\n" + of("", step, expect), "has been used"},
		"a field":               {of(`,"colour":1`, step, expect), "colour"},
		"a protocol":            {strings.Replace(of("", step, expect), `"protocol":"emqx"`, `"protocol":"ftp"`, 1), `"ftp" is not known`},
		"a level":               {strings.Replace(of("", step, expect), `"level":"emqx"`, `"level":"sea"`, 1), `"sea" is not known`},
		"no level":              {strings.Replace(of("", step, expect), `"level":"emqx",`, "", 1), `"" is not known`},
		"a profile":             {of(`,"profile":"x"`, step, expect), "profile"},
		"an exporter":           {of(`,"exporter":"tape"`, step, expect), "tape"},
		"an MQTT":               {of(`,"client_proto":3`, step, expect), "client_proto"},
		"no steps":              {of("", "", expect), "nothing"},
		"nothing expected":      {of("", step, ""), "nothing"},
		"a step":                {of("", `{"client":"c1","dance":true}`, expect), "dance"},
		"an empty step":         {of("", `{}`, expect), "empty"},
		"two steps in one":      {of("", `{"client":"c1","publish":"x","subscribe":"y"}`, expect), "subscribe"},
		"a field of a step":     {of("", `{"client":"c1","publish":"x","speed":9}`, expect), "speed"},
		"a step of the other":   {of("", `{"update_stream":{}}`, expect), "update_stream"},
		"an expectation":        {of("", step, `{"step":0,"joy":1}`), "joy"},
		"a part of one":         {of("", step, `{"step":0,"puback_rc":0,"within":5}`), "within"},
		"a part of nothing":     {of("", step, `{"step":0,"qos":1}`), "expects nothing"},
		"a code of no step":     {of("", step, `{"puback_rc":0}`), "which step"},
		"nobody's step":         {of("", `{"publish":"x"}`, expect), "which client"},
		"a step that is not":    {of("", step, `{"step":1,"puback_rc":0}`), "no step 1"},
		"a step that is a word": {of("", step, `{"step":"0","puback_rc":0}`), "no step"},
		"ours":                  {of(`,"ours":{"mood":1}`, step, expect), "mood"},
		"a step of ours":        {of(`,"ours":{"step1_puback_rc":1}`, step, expect), "no such step"},
		"no step of ours":       {of(`,"ours":{"stepX":{}}`, step, expect), "stepX"},
		"lenient uploads":       {of(`,"lenient_alternative":{"block_numbers":[]}`, step, expect), "lenient"},
	} {
		if err := read(c.text); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if err := read("\n" + of("", step, expect) + "\n\n"); err != nil {
		t.Error(err)
	}
	if _, err := readCases(filepath.Join(dir, "none.jsonl")); err == nil {
		t.Error("a file that is not there holds cases")
	}
}

// TestFalseCasesFail: each case of testdata/files/false.txt expects what is not so,
// and fails. An expectation that is read and not compared would show nothing.
func TestFalseCasesFail(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "files", "false.txt")
	cases, err := readCases(path)
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFileCases$")
	run.Env = append(os.Environ(), "EBBGATE_FILE_CASES="+path)
	said, err := run.CombinedOutput()
	if err == nil {
		t.Fatal("all have passed")
	}
	for _, c := range cases {
		if !strings.Contains(string(said), "--- FAIL: TestFileCases/"+c.ID+" ") {
			t.Errorf("%s has passed: %s", c.ID, c.Why)
		}
	}
	if strings.Contains(string(said), "panic:") {
		t.Errorf("a case ends the tests:\n%s", said)
	}
}
