package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// U5: a reading has 100 bytes, and says which one it is; topics have the length
// that is asked for, within AWS's seven slashes.
func TestReadings(t *testing.T) {
	made := newReadings(1)
	for i := range 10_000 {
		text := made.next()
		var v struct{ N int }
		if err := json.Unmarshal([]byte(text), &v); err != nil || len(text) != readingSize || v.N != firstReading+i {
			t.Fatalf("reading %d has %d bytes: %s (%v)", i, len(text), text, err)
		}
	}
	for _, n := range []int{shortTopic, longTopic} {
		topics := map[string]bool{}
		for device := range manySensors {
			topic := readingTopic(device, n)
			topics[topic] = true
			if len(topic) != n || strings.Count(topic, "/") > 7 || !strings.HasPrefix(topic, fmt.Sprintf("dt/%s/", clientName(device))) {
				t.Errorf("the topic of %d is %q", device, topic)
			}
		}
		if len(topics) != manySensors {
			t.Errorf("%d topics of %d devices", len(topics), manySensors)
		}
	}
}

// Every step can be measured, and does something.
func TestStepsCanBeMeasured(t *testing.T) {
	for _, r := range stepRows() {
		handle, err := r.prepare()
		if err != nil {
			t.Errorf("%s: %v", r.what, err)
			continue
		}
		if took, _ := perCall(handle, 200); took <= 0 {
			t.Errorf("%s takes %v ns", r.what, took)
		}
	}
}
