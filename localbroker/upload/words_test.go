package upload

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestWordsAreTold: each word that a response may have is in the table of the how-to
// page. Devices of MQTT 3.1.1 have nothing else.
func TestWordsAreTold(t *testing.T) {
	source, err := os.ReadFile("fault.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/how-to/send-files-from-a-device.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| `reason_description` |")
	table, _, _ = strings.Cut(table, "\n\n")
	words := []string{"success"}
	for _, m := range regexp.MustCompile(`&Fault\{"([a-z0-9_]+)"`).FindAllStringSubmatch(string(source), -1) {
		words = append(words, m[1])
	}
	for _, w := range errnoFaultWords {
		words = append(words, w)
	}
	if len(words) < 40 {
		t.Fatalf("only %d words are found: %q", len(words), words)
	}
	for _, w := range words {
		if w != errTwice.Word && w != errQoS0.Word && !strings.Contains(table, "`"+w+"`") { // those have no response
			t.Errorf("%s is not in the table", w)
		}
	}
}
