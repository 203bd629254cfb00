package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A users file that is not valid ends a start as a configuration does: exit code 2, one
// line (M5).
func TestBadUsersFile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"no map": "users: {}\n", "a list": "- a\n", "no hash": "bob: secret\n"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "ebbgate.yaml")
			write := func(path, text string) {
				t.Helper()
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(filepath.Join(dir, "users.yaml"), text)
			write(config, `gateway: {id: gw}
admin: {address: ""}
policy: {things: "", policies: ""}
listeners:
  - {name: lan, type: tcp, address: "127.0.0.1:0", auth: password, users: users.yaml}
`)
			var stdout, stderr bytes.Buffer
			code := execute([]string{"run", "--config", config}, &stdout, &stderr)
			if out := stderr.String(); code != exitInvalid || strings.Count(out, "\n") != 1 || !strings.Contains(out, "users.yaml: ") {
				t.Errorf("%d: %s", code, out)
			}
		})
	}
}
