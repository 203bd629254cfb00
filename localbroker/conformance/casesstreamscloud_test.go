package conformance

import (
	"encoding/json"
	"slices"
	"strings"
)

// expectFetched looks at how often the cloud was asked for each byte.
func (b *streamBed) expectFetched(raw json.RawMessage) {
	b.t.Helper()
	var want struct {
		File  int `json:"f"`
		From  int `json:"from"`
		To    int `json:"to"`
		Times int `json:"max_times"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		b.t.Fatal(err)
	}
	times := make([]int, want.To)
	for _, a := range b.sandbox.Streams().Asked() {
		if a.File == want.File {
			for i := max(a.From, want.From); i < min(a.To, want.To); i++ {
				times[i]++
			}
		}
	}
	if most, least := slices.Max(times[want.From:]), slices.Min(times[want.From:]); most > want.Times || least == 0 {
		b.t.Errorf("the cloud sent these bytes %d to %d times", least, most)
	}
}

// expectEach looks at what every client got, on its own topic.
func (b *streamBed) expectEach(raw json.RawMessage) {
	b.t.Helper()
	var numbers []int
	if err := json.Unmarshal(raw, &numbers); err != nil {
		b.t.Fatal(err)
	}
	for id := range b.devices {
		var came []int
		for _, m := range b.heard[b.last][id] {
			if strings.HasPrefix(m.topic, "$aws/things/"+id+"/") && strings.Contains(m.topic, "/data/") {
				came = append(came, int(plain(m.fields["i"]).(float64)))
			}
		}
		if !slices.Equal(came, numbers) {
			b.t.Errorf("%s got the blocks %v, want %v", id, came, numbers)
		}
	}
}

// expectContent compares a block with what the stream had then.
func (b *streamBed) expectContent(e map[string]json.RawMessage) {
	b.t.Helper()
	var q struct {
		File   int `json:"f"`
		Length int `json:"l"`
		Offset int `json:"o"`
	}
	if err := json.Unmarshal(b.c.Steps[number(e["step"])]["payload_json"], &q); err != nil {
		b.t.Fatal(err)
	}
	want := b.then[number(e["step"])].content(q.File, q.Length*(q.Offset+1))[q.Length*q.Offset:]
	got := b.of(e, b.hears(e), "$aws/things/+/streams/+/data/+")
	if len(got) != 1 || string(got[0].block) != string(want) {
		b.t.Errorf("%d messages came, or another content", len(got))
	}
}
