package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool"
)

// setBack is a configuration whose spool was killed, and whose state has lost its
// last commits since: that is found by whoever opens it, and then it is mended.
func setBack(t *testing.T) (config, dir string) {
	t.Helper()
	config, cfg := spooled(t)
	s := openSpool(t, cfg)
	for range 20 {
		var b bridge.Batch
		b.Add("meter", "units", 1)
		commit(t, s, &b)
	}
	was := filepath.Join(t.TempDir(), "killed")
	err := os.CopyFS(was, os.DirFS(cfg.Spool.Dir))
	if err := errors.Join(err, s.Close(), os.RemoveAll(cfg.Spool.Dir), os.CopyFS(cfg.Spool.Dir, os.DirFS(was))); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(cfg.Spool.Dir, "state", "*.mem"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[300] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config, cfg.Spool.Dir
}

// What opening a damaged spool finds is told by the command that opens it first, by
// its exit code, and once more by the next start of a gateway: it was mended, and
// nobody else would ever have known.
func TestACommandTellsWhatItFinds(t *testing.T) {
	const loss = "the state has lost its last "
	id := bridge.MessageID{7}.String()
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"spool", "stat"}, exitFailed},
		{[]string{"spool", "stat", "--json"}, exitFailed},
		{[]string{"spool", "ls", "--json"}, exitFailed},
		{[]string{"spool", "peek", "up/cloud/old"}, exitFailed},
		{[]string{"spool", "export"}, exitFailed},
		{[]string{"spool", "why", id}, exitFailed},
		{[]string{"spool", "requeue", "up/cloud/old", "--to", "up/cloud/all"}, exitFailed},
		{[]string{"spool", "drop", "up/cloud/old", "--yes"}, exitFailed},
		{[]string{"drops", "stat"}, exitFailed},
		{[]string{"bill"}, exitFailed},
		{[]string{"spool", "repair"}, exitOK}, // it was asked to
		{[]string{"spool", "repair", "--json"}, exitOK},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			config, dir := setBack(t)
			run := func(args ...string) (code int, out, errs string) {
				var stdout, stderr bytes.Buffer
				code = execute(append(args, "--config", config), &stdout, &stderr)
				return code, stdout.String(), stderr.String()
			}
			if code, out, _ := run("spool", "verify"); code != exitFailed || !strings.Contains(out, "state: it has lost its last ") {
				t.Fatalf("verify before: exit %d, %s", code, out)
			}
			code, out, errs := run(c.args...)
			if code != c.code || strings.Count(errs, "found: "+loss) != 1 {
				t.Errorf("exit %d, want %d, %s", code, c.code, errs)
			}
			if c.args[len(c.args)-1] == "--json" && !strings.Contains(strings.ReplaceAll(out, `": "`, `":"`), `"found":"`+loss) {
				t.Errorf("as JSON: %s", out)
			}
			if code, out, _ := run("spool", "verify"); code != exitOK || !strings.Contains(out, "found earlier and dealt with: "+loss) {
				t.Errorf("verify after: exit %d, %s", code, out)
			}
			if code, _, errs := run("spool", "stat"); code != exitOK || strings.Contains(errs, "found") {
				t.Errorf("again: exit %d, %s", code, errs)
			}
			if w := startWarns(t, dir); !strings.Contains(w, loss) || !strings.Contains(w, "(found by ebbgate "+c.args[0]) {
				t.Errorf("the gateway's next start warns %q", w)
			}
			if w := startWarns(t, dir); w != "" {
				t.Errorf("the one after that: %q", w)
			}
		})
	}
}

// startWarns opens a spool as a gateway does, and returns what it warns of.
func startWarns(t *testing.T, dir string) (texts string) {
	t.Helper()
	o := spool.DefaultOptions()
	o.Dir = dir
	health := new(bridge.Health)
	s, err := spool.Open(o, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: health})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range health.Warnings() {
		texts += w.Text
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return texts
}
