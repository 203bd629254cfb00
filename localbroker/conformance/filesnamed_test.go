package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEachStatementHasATest: each of the specification's statements F01 to F85 about
// files is in the name of a test over real connections: here, by the service that delivers,
// or with the whole binary.
func TestEachStatementHasATest(t *testing.T) {
	t.Parallel()
	named := map[string]bool{}
	statement := regexp.MustCompile(`F[0-9]{2}`)
	for _, pattern := range []string{"files*_test.go", "../delivery/protocol_test.go", "../delivery/bitmap_test.go", "../delivery/hazards_test.go", "../../internal/scenario/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				name, test := strings.CutPrefix(line, "func Test")
				if name, _, _ = strings.Cut(name, "("); test {
					for _, id := range statement.FindAllString(name, -1) {
						named[id] = true
					}
				}
			}
		}
	}
	for n := 1; n <= 85; n++ {
		if id := fmt.Sprintf("F%02d", n); !named[id] {
			t.Errorf("%s has no test", id)
		}
	}
}
