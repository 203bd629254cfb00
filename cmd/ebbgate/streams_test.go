package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestStreamsNamed: the documents of FreeRTOS's OTA, and others that name streams.
func TestStreamsNamed(t *testing.T) {
	for text, want := range map[string][]string{
		`{"execution":{"jobDocument":{"afr_ota":{"streamname":"AFR_OTA-1","files":[{"filepath":"/a"}]}}}}`: {"AFR_OTA-1"},
		`{"steps":[{"streamId":"a"},{"streamName":"b"}]}`:                                                  {"a", "b"},
		`{"streamname":"../x"}`:     nil,
		`{"streamname":["a"]}`:      nil,
		`{"name":"a"}`:              nil,
		`["streamname","a",1,null]`: nil,
	} {
		var document any
		if err := json.Unmarshal([]byte(text), &document); err != nil {
			t.Fatal(err)
		}
		got := streamsNamed(document, nil)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// TestPipe: what is no regular file is refused, and not waited for.
func TestPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, os.DevNull} {
		var stderr bytes.Buffer
		if code := execute([]string{"files", "put", path, "--dry-run"}, io.Discard, &stderr); code != exitInvalid || !strings.Contains(stderr.String(), "is no regular file") {
			t.Errorf("%s: %d, %s", path, code, stderr.String())
		}
	}
}

// TestAnyFolder: who asks a running gateway needs its address only, and hears how to
// say it when nobody is there.
func TestAnyFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"files", "ls"}, {"files", "show", "c", "f"}, {"streams", "prefetch", "s"}, {"streams", "list", "--cloud"}} {
		var stderr bytes.Buffer
		code := execute(append(args, "--set", "admin.address=127.0.0.1:1"), io.Discard, &stderr)
		if got := stderr.String(); code != exitFailed || !strings.Contains(got, "--config") || strings.Contains(got, "policy.things") {
			t.Errorf("%v: %d, %s", args, code, got)
		}
	}
}

// TestStreamsOnATerminal: names and descriptions are shown, and not done.
func TestStreamsOnATerminal(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a\x1b[2J\nb")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Skipf("needs a file system with control characters in names, such as ext4: %v", err)
	}
	config := filepath.Join(dir, "ebbgate.yaml")
	if err := os.WriteFile(config, []byte("gateway: {id: gw}\npolicy: {things: \"\", policies: \"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"create", "fw", file, "--description", "what\u202eis\u009b2Jit"}, {"describe", "fw"}, {"list"}} {
		var stdout, stderr bytes.Buffer
		if code := execute(append([]string{"streams", "--config", config}, args...), &stdout, &stderr); code != 0 {
			t.Fatalf("%v: %d, %s", args, code, stderr.String())
		}
		if strings.ContainsAny(stdout.String(), "\x1b\u202e\u009b") || strings.Contains(stdout.String(), "\nb ") {
			t.Errorf("%v: %q", args, stdout.String())
		}
	}
}
