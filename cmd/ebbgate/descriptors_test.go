package main

import (
	"strings"
	"testing"
)

// What cannot be opened is told at the start, with what would be enough.
func TestDescriptors(t *testing.T) {
	if w, short := descriptors(1024, 20_000); !short || !strings.Contains(w.Text, "raise the limit to 20256") {
		t.Errorf("%v: %s", short, w.Text)
	}
	if _, short := descriptors(65_536, 20_000); short {
		t.Error("65536 files are too few for 20000 sockets")
	}
}
