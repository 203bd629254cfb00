package main

import (
	"encoding/json"
	"slices"
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
