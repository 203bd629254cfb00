package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
)

// A device's names are its own: in no table, and in nothing that is printed of one
// message, do they move the cursor or make rows. Long ones are cut in the tables, and
// whole in JSON.
func TestHostileNamesAreNotObeyed(t *testing.T) {
	config, cfg := spooled(t)
	topic := "dt/\x1b[2J\u009b1m\r\nup/cloud/old 9 1s forged/" + strings.Repeat("x", 120)
	id := bridge.MessageID{9}
	s := openSpool(t, cfg)
	var b bridge.Batch
	b.Append(&bridge.Record{Message: bridge.Message{Topic: topic, Payload: []byte("y")}, Origin: bridge.Origin{Device: "pump\x1b]0;x\a\n\u0085", ID: id},
		Receivers: []bridge.Receiver{{Queue: "up/cloud/old", Topic: topic}}})
	commit(t, s, &b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	harmless := func(most int, args ...string) string {
		t.Helper()
		code, out := spoolRun(t, config, args...)
		if code != exitOK || !strings.Contains(out, "pump") {
			t.Errorf("%v: exit %d, %q", args, code, out)
		}
		if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
			t.Errorf("%v: prints a control character: %q", args, out[i:])
		}
		for line := range strings.Lines(out) {
			if most > 0 && utf8.RuneCountInString(strings.TrimSpace(line)) > most {
				t.Errorf("%v: a row of more than %d columns: %q", args, most, line)
			}
		}
		return out
	}
	if out := harmless(80, "spool", "ls"); strings.Count(out, "\n") != 3 {
		t.Errorf("a forged row: %q", out)
	}
	var r recordLine
	if err := json.Unmarshal([]byte(harmless(0, "spool", "peek", "up/cloud/old", "--place", "2")), &r); err != nil || r.Topic != topic {
		t.Errorf("%q, %v: JSON has the name as it is", r.Topic, err)
	}
	harmless(0, "spool", "why", id.String())
	if code, out := spoolRun(t, config, "spool", "drop", "up/cloud/old", "--yes"); code != exitOK {
		t.Fatalf("exit %d, %s", code, out)
	}
	if out := harmless(0, "drops", "ls"); strings.Count(out, "\n") != 3 || strings.Contains(out, strings.Repeat("x", 40)) {
		t.Errorf("a forged row, or a whole topic: %q", out)
	}
	harmless(0, "spool", "why", id.String())
	if _, out := spoolRun(t, config, "drops", "ls", "--json"); !strings.Contains(out, strings.Repeat("x", 120)) {
		t.Errorf("JSON has the name whole: %q", out)
	}
}
