package spool

import (
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// seedCommit is a commit with every field in use.
func seedCommit() []byte {
	r := record(1, up)
	r.Properties = bridge.Properties{PayloadFormat: 1, HasExpiry: true, Expiry: 9, ContentType: "a/b", ResponseTopic: "r",
		CorrelationData: []byte{1, 2}, User: []bridge.UserProperty{{Key: "k", Value: "v"}}}
	r.Receivers[0].Topic, r.Receivers[0].TTL = "other", 5
	h := &commitHeader{spool: 1, generation: 2, first: 3, records: 1, table: []queueSpan{{up, 4, 1, 10}}}
	frames := appendFrame(nil, frameRecord, func(b []byte) []byte { return appendRecord(b, r, 0, []place{{0, 0}}) })
	frames = appendFrame(frames, frameOps, func(b []byte) []byte {
		return appendOps(b, []bridge.Release{{Queue: up, Place: 1, Bytes: 2}, {Queue: up, Place: 2, Fate: bridge.Moved}}, []bridge.Put{{Namespace: "n", Key: "k", Value: []byte("v")}, {Namespace: "n", Key: "gone"}}, []bridge.Add{{Namespace: "n", Key: "c", Delta: -3}})
	})
	return appendCommit(nil, h, frames)
}

func FuzzCommit(f *testing.F) {
	f.Add(seedCommit())
	f.Add([]byte(commitMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		scanFile(b, 1, func(c rawCommit) {
			if c.header.size > maxCommit {
				t.Fatal("a commit larger than the bound")
			}
			opsIn(c)
			eachFrame(c.header.framesOf(c.value), func(_ byte, body []byte) bool {
				_, _ = decodeRecord(body, c.header, "")
				return true
			})
		})
	})
}

func FuzzRecord(f *testing.F) {
	h, err := parseHeader(seedCommit())
	if err != nil {
		f.Fatal(err)
	}
	eachFrame(h.framesOf(seedCommit()), func(_ byte, body []byte) bool {
		f.Add(body)
		return true
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b, h, "")
		if err != nil {
			return
		}
		// What decodes must come back the same when it is encoded again.
		places := make([]place, len(r.Receivers))
		for i, p := range r.places {
			places[i] = place{0, uint64(p - h.table[0].first)}
		}
		again, err := decodeRecord(appendRecord(nil, r.Record, uint64(r.seq-h.first), places), h, "")
		if err != nil || again.ID != r.ID || string(again.Payload) != string(r.Payload) || len(again.Receivers) != len(r.Receivers) {
			t.Fatalf("%+v does not come back: %+v, %v", r.Record, again, err)
		}
	})
}

func FuzzTail(f *testing.F) {
	m := tailMark{generation: 2, first: 3, end: 9, queues: []tailQueue{{up, 1, 7}, {other, 4, 4}}}
	f.Add(m.append(nil, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeTail(b, 1)
		if err != nil {
			return
		}
		again, err := decodeTail(m.append(nil, 1), 1)
		if err != nil || again.end != m.end || len(again.queues) != len(m.queues) {
			t.Fatalf("%+v does not come back: %+v, %v", m, again, err)
		}
	})
}

func FuzzState(f *testing.F) {
	r := releases{head: 5, ranges: []placeRange{{7, 9}, {20, 21}}, bytes: 100, fates: fates{4, 2, 1, 0}}
	f.Add(r.encode())
	m := generationMeta{first: 1, end: 9, bytes: 5, start: []queueSpan{{name: up, first: 1}}, finish: []queueSpan{{name: up, first: 9, bytes: 7}}}
	f.Add(m.encode())
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeReleases(b)
		_, _ = decodeMeta(b)
		_, _ = decodeOps(b)
	})
}
