package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What config check says of a route is what it does.
func TestConfigCheckTellsWhatRoutesDo(t *testing.T) {
	config := filepath.Join(t.TempDir(), "ebbgate.yaml")
	text := "spool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\n" +
		"routes: {up: [{name: basic, from: \"b/#\", upstream: aws, basic_ingest: store}, {name: packed, from: \"dt/#\", upstream: aws, batch: {format: json}, compress: gzip}]}\n" +
		"upstreams: {aws: {endpoint: \"mqtts://x-ats.iot.eu-central-1.amazonaws.com:443\", username: pump}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := execute([]string{"config", "check", config}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	out := strings.Join(strings.Fields(stdout.String()), " ")
	for _, want := range []string{"basic up b/# → aws as $aws/rules/store/${topic} priority 4 ", "packed up dt/# → aws as ${topic} priority 4; batches as json, gzip"} {
		if !strings.Contains(out+" ", want) {
			t.Errorf("no %q in\n%s", want, stdout.String())
		}
	}
}
