package filetransfer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ebbgate/ebbgate/bridge"
)

// A file goes, with both versions of the protocol, and says whose it is; an empty
// one does, and one that was sent before is not sent again.
func TestFileArrives(t *testing.T) {
	for _, mqtt3 := range []bool{false, true} {
		for _, size := range []int{0, 1, firstPiece, 3_000_001} {
			w := newWorld(t)
			w.mqtt3 = mqtt3
			f, content := fileOf("pump/7", "log 1", size, 1)
			place, err := w.target.Put(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			w.arrived(content)
			id := remoteID(f, 0)
			if want := "emqx/site-files/" + id + "/a.bin"; place != want || !strings.HasPrefix(id, "pump_7-log_1-") {
				t.Errorf("place %s, want %s", place, want)
			}
			if got := w.meta[id]; !strings.Contains(got, `"user_data":{"gateway":"site","clientid":"pump/7","fileid":"log 1","user_data":{"n":1}}`) ||
				!strings.Contains(got, `"expire_at":5000000000`) {
				t.Errorf("init %s", got)
			}
			bytes := w.bytes
			if _, err := w.target.Put(t.Context(), f); err != nil || w.bytes != bytes && size > 0 {
				t.Errorf("again: %v, %d bytes more", err, w.bytes-bytes)
			}
			w.arrived(content)
		}
	}
}

// Equal file ids of two devices, and one id for two contents, are different files
// there.
func TestNamesDoNotMeet(t *testing.T) {
	a, _ := fileOf("a", "id", 10, 1)
	seen := map[string]bool{remoteID(a, 0): true, remoteID(a, 1): true}
	for _, v := range [][2]string{{"b", "id"}, {"a", "id2"}, {"ai", "d"}, {"a/", "id"}, {"a_", "id"}, {strings.Repeat("ü#+", 300), "$"}} {
		f, _ := fileOf(v[0], v[1], 10, 1)
		seen[remoteID(f, 0)] = true
	}
	b, _ := fileOf("a", "id", 10, 2)
	seen[remoteID(b, 0)] = true
	if len(seen) != 9 {
		t.Errorf("%d names of 9 files: %v", len(seen), seen)
	}
	for id := range seen {
		if len(id) > 120 || strings.ContainsAny(id, "/+#$%") {
			t.Errorf("%s", id)
		}
	}
}

// Cuts and restarts, wherever they happen, cost little that goes twice, and the file
// is what it was.
func TestItGoesOnWhereItWas(t *testing.T) {
	const size = 3_000_000
	for _, at := range []int{1, 2, 9, 18} {
		w := newWorld(t)
		f, content := fileOf("a", "id", size, 1)
		w.answer = func(_ string, n int) *reply {
			if n == at {
				return &reply{cut: true}
			}
			return nil
		}
		_, err := w.target.Put(t.Context(), f)
		if !bridge.OfTarget(err) {
			t.Fatalf("cut at command %d: %v", at, err)
		}
		w.restart()
		w.connect()
		if _, err := w.target.Put(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		w.arrived(content)
		if twice := w.bytes - size; twice > keepEvery+inFlight*mostPiece {
			t.Errorf("cut at command %d: %d bytes went twice", at, twice)
		}
	}
}

// The answer to fin is lost: it is asked again, and nothing else goes.
func TestTheAnswerToFinIsLost(t *testing.T) {
	w := newWorld(t)
	f, content := fileOf("a", "id", 100_000, 1)
	w.answer = func(verb string, _ int) *reply {
		if verb == "fin" {
			return &reply{cut: true}
		}
		return nil
	}
	if _, err := w.target.Put(t.Context(), f); !bridge.OfTarget(err) {
		t.Fatal(err)
	}
	w.answer, w.sent = nil, nil
	w.restart()
	w.connect()
	if _, err := w.target.Put(t.Context(), f); err != nil || !slices.Equal(w.sent, []string{"fin"}) {
		t.Errorf("%v, %v", err, w.sent)
	}
	w.arrived(content)
}

// A side that has forgotten what it was given gets all of it anew.
func TestTheOtherSideForgets(t *testing.T) {
	w := newWorld(t)
	f, content := fileOf("a", "id", 2_000_000, 1)
	w.answer = func(verb string, _ int) *reply {
		if verb == "fin" {
			w.answer = nil
			clear(w.open)
		}
		return nil
	}
	if _, err := w.target.Put(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	w.arrived(content)
	if w.bytes != 2*2_000_000 {
		t.Errorf("%d bytes", w.bytes)
	}
}

// An id that is in use for something else there is left to it.
func TestTheNameIsTaken(t *testing.T) {
	w := newWorld(t)
	f, content := fileOf("a", "id", 1000, 1)
	w.open[remoteID(f, 0)] = &upload{init: "other", segments: map[int64][]byte{}}
	place, err := w.target.Put(t.Context(), f)
	if err != nil || !strings.Contains(place, remoteID(f, 1)) {
		t.Errorf("%s, %v", place, err)
	}
	w.arrived(content)
}

// A segment that was damaged on the way goes again.
func TestDamagedOnTheWay(t *testing.T) {
	w := newWorld(t)
	f, content := fileOf("a", "id", 300_000, 1)
	w.answer = func(_ string, n int) *reply {
		if n == 3 || n == 7 {
			return &reply{code: 0x80, word: wordMismatch}
		}
		return nil
	}
	if _, err := w.target.Put(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	w.arrived(content)
}

// What is refused for what the file is, is of the file; what may pass is of the
// target.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		verb   string
		reply  reply
		mqtt3  bool
		ofFile bool
		text   string
	}{
		{verb: "init", reply: reply{code: 0x83, word: "invalid_filemeta"}, ofFile: true, text: "0x83, invalid_filemeta"},
		{verb: "init", reply: reply{code: 0x80, word: "invalid_filemeta"}, ofFile: true},
		{verb: "init", reply: reply{code: noSubscribers, silent: true}, text: "enable its file transfer"},
		{verb: "init", reply: reply{code: codeDenied, silent: true}, text: "0x87"},
		{verb: "segment", reply: reply{code: 0x83, word: "efbig"}, ofFile: true},
		{verb: "segment", reply: reply{code: 0x83, silent: true}, ofFile: true},
		{verb: "segment", reply: reply{code: codeQuota, word: "enospc"}, text: "0x97, enospc"},
		{verb: "segment", reply: reply{word: "edquot"}, mqtt3: true, text: "refused: edquot"},
		{verb: "fin", reply: reply{word: "efbig"}, mqtt3: true, ofFile: true},
		{verb: "init", reply: reply{silent: true}, text: "may site-files subscribe"},
		{verb: "fin", reply: reply{silent: true}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.mqtt3 = c.mqtt3
			w.answer = func(verb string, _ int) *reply {
				if verb == c.verb {
					return &c.reply
				}
				return nil
			}
			f, _ := fileOf("a", "id", 300_000, 1)
			_, err := w.target.Put(t.Context(), f)
			if bridge.OfFile(err) != c.ofFile || bridge.OfTarget(err) == c.ofFile || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%+v: %v (%v)", c, err, bridge.KindOf(err))
			}
			w.answer = nil
			if _, err := w.target.Put(t.Context(), f); err != nil {
				t.Errorf("%+v: it is not taken afterwards: %v", c, err)
			}
		})
	}
}

// A file that is not what was verified any more does not arrive, and is to blame.
func TestNotWhatWasVerified(t *testing.T) {
	w := newWorld(t)
	f, _ := fileOf("a", "id", 1000, 1)
	f.SHA256[0] ^= 1
	if _, err := w.target.Put(t.Context(), f); bridge.KindOf(err) != bridge.Corrupt || len(w.done) != 0 {
		t.Errorf("%v, %d files are there", err, len(w.done))
	}
}

// A broker that takes small packets only gets small segments, and one that cannot say
// so is found out.
func TestSegmentsAsLargeAsTheyAreTaken(t *testing.T) {
	w := newWorld(t)
	w.largest = 65<<10 + 0 // an Ebbgate with max_segment: 1KiB
	f, content := fileOf("a", "id", 100_000, 1)
	if _, err := w.target.Put(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	w.arrived(content)
	for _, u := range w.sent[1 : len(w.sent)-1] {
		if u != "segment" {
			t.Fatal(w.sent)
		}
	}
	if got := len(w.sent) - 2; got != 98 {
		t.Errorf("%d segments of 1 KiB", got)
	}
	p := newPieces()
	for range 100 {
		p.took(p.size)
	}
	if p.size != mostPiece {
		t.Errorf("grown to %d", p.size)
	}
	for range 100 {
		p.lost()
	}
	if p.size != leastPiece || p.enough != mostTaken {
		t.Errorf("%+v", p)
	}
}

// A window that closes ends an attempt without anything being wrong; the next goes
// on.
func TestHeldBack(t *testing.T) {
	w := newWorld(t)
	f, content := fileOf("a", "id", 3_000_000, 1)
	w.pace.after = 2_000_000
	if _, err := w.target.Put(t.Context(), f); !errors.Is(err, bridge.ErrHeld) || !bridge.OfTarget(err) {
		t.Fatal(err)
	}
	w.pace.hold, w.pace.yield = false, true
	if _, err := w.target.Put(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	w.arrived(content)
	if twice := w.bytes - 3_000_000; twice > inFlight*mostPiece {
		t.Errorf("%d bytes went twice", twice)
	}
}

// What is given up is given up there, too, and forgotten here.
func TestAbandon(t *testing.T) {
	w := newWorld(t)
	f, _ := fileOf("a", "id", 3_000_000, 1)
	g, _ := fileOf("b", "id", 1000, 1)
	w.pace.after = 2_000_000
	_, err := w.target.Put(t.Context(), f)
	if !errors.Is(err, bridge.ErrHeld) {
		t.Fatal(err)
	}
	w.pace.hold = false
	if _, err := w.target.Put(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	stays := true
	abandon := func() {
		t.Helper()
		if err := w.target.Abandon(t.Context(), func(client, _ string) bool { return stays && client == "a" }); err != nil {
			t.Error(err)
		}
	}
	if abandon(); len(w.shelf.m) != 1 || len(w.open) != 1 {
		t.Errorf("%d on the shelf, %d open there", len(w.shelf.m), len(w.open))
	}
	stays = false
	if abandon(); len(w.shelf.m) != 0 || len(w.open) != 0 {
		t.Errorf("%d on the shelf, %d open there", len(w.shelf.m), len(w.open))
	}
}

func TestNothingIsKeptHere(t *testing.T) {
	w := newWorld(t)
	if _, err := w.target.Open(t.Context(), "emqx/x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if err := w.target.Remove(t.Context(), "emqx/x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	w.cut()
	f, _ := fileOf("a", "id", 10, 1)
	if _, err := w.target.Put(t.Context(), f); bridge.KindOf(err) != bridge.Unavailable {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.connect()
	if _, err := w.target.Put(ctx, f); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, m := range []*bridge.Message{
		{Topic: "dt/x", Payload: []byte(`{}`)},
		{Topic: "$file-response/site-files", Payload: []byte(`[`)},
		{Topic: "$file-response/site-files", Payload: []byte(`{"topic":"$file/x/init","reason_code":0}`)},
	} {
		if w.target.Heard(m) {
			t.Errorf("%s answers something", m.Payload)
		}
	}
}
