package bridge_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// marking is a line that sends what begins with "large" as files.
type marking struct{}

func (marking) Take(s *bridge.Stored, out func(*bridge.Product)) {
	r := *s.Record
	r.Receivers = []bridge.Receiver{{Queue: normal, Topic: s.Topic, QoS: 1}}
	out(&bridge.Product{
		Records: []*bridge.Record{&r}, Members: []bridge.Member{{Place: s.Place, Size: s.Size(), ID: s.ID}},
		File: strings.HasPrefix(string(s.Payload), "large"),
	})
}

func (marking) Ripe(time.Duration, func(*bridge.Product)) (time.Duration, bool) { return 0, false }

// drawer is a file path: what it has, by file id, and how it answers.
type drawer struct {
	mu     sync.Mutex
	files  map[string]string
	asked  int
	answer func(n int, f *bridge.File) error // nil: yes
	enter  chan struct{}                     // when not nil, Hand waits for it
}

func (d *drawer) Hand(ctx context.Context, f *bridge.File) (string, error) {
	if d.enter != nil {
		select {
		case <-d.enter:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	content, err := io.ReadAll(f.Reader(ctx))
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.answer != nil {
		if err := d.answer(d.asked, f); err != nil {
			return "", err
		}
	}
	if d.files == nil {
		d.files = map[string]string{}
	}
	d.files[f.ClientID+"/"+f.FileID] = string(content)
	return "file:///x/" + f.Name, nil
}

func (d *drawer) held() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.files)
}

// diverting runs a shaper with a file path until the condition holds.
func diverting(t *testing.T, s bridge.Spool, files bridge.FilePath, drops *bridge.DropLog, health *bridge.Health, until func() bool) {
	t.Helper()
	sh := bridge.NewShaper(bridge.ShaperConfig{Queue: normal, Line: func() bridge.Line { return marking{} }, Files: files},
		s, drops, health, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sh.Run(ctx) }()
	eventually(t, until)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// eventually polls until a condition holds; it never does when the test hangs.
func eventually(t *testing.T, until func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !until() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("not reached")
		}
	}
}

// putAs appends a message with an id.
func putAs(t *testing.T, s bridge.Spool, n int, payload string) {
	t.Helper()
	var b bridge.Batch
	b.Append(&bridge.Record{
		Message:   bridge.Message{Topic: "plant/cam 1/image", Payload: []byte(payload), Properties: bridge.Properties{ContentType: "image/jpeg", User: []bridge.UserProperty{{Key: "k", Value: "v"}}}},
		Origin:    bridge.Origin{Device: "cam/1", ID: idOf(n), Instant: bridge.Instant{Age: s.Age(), Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Synced: true}},
		Receivers: []bridge.Receiver{{Queue: bridge.RawQueue(normal), Topic: "plant/cam 1/image", QoS: 1}},
	})
	commit(t, s, &b)
}

// What is too large goes as a file, and a pointer in its place says all that is
// needed to find it; what is not goes on meanwhile.
func TestShaperDiverts(t *testing.T) {
	s := openSpool(t)
	large := "large " + strings.Repeat("x", 5000)
	putAs(t, s, 1, large)
	for n := 2; n <= 9; n++ {
		putAs(t, s, n, fmt.Sprint("small ", n))
	}
	files := &drawer{enter: make(chan struct{})}
	passed := make(chan struct{})
	go func() {
		eventually(t, depth(s, normal, 8)) // nobody has let the file in yet
		close(files.enter)
		close(passed)
	}()
	diverting(t, s, files, new(bridge.DropLog), new(bridge.Health), depth(s, normal, 9))
	<-passed
	got := content(t, s, normal)
	var p bridge.Pointer
	if err := json.Unmarshal([]byte(got[len(got)-1]), &p); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	id, sum := idOf(1).String(), sha256.Sum256([]byte(large))
	want := bridge.Pointer{
		Topic: "plant/cam 1/image", ClientID: "cam/1", Name: "plant_cam_1_image-" + id, URI: "file:///x/plant_cam_1_image-" + id,
		Size: int64(len(large)), SHA256: hex.EncodeToString(sum[:]), ID: id, Device: "cam/1",
		Accepted: "2026-03-01T12:00:00.000000000Z", Clock: "synchronised", ContentType: "image/jpeg",
	}
	want.FileID = "normal-" + id
	if fmt.Sprintf("%+v", p) != fmt.Sprintf("%+v", want) {
		t.Errorf("the pointer is\n%+v, want\n%+v", p, want)
	}
	if files.files["cam/1/"+p.FileID] != large {
		t.Error("the file is not the payload")
	}
	if c := balanced(t, s, 9); c.In != 9 || c.Out != 9 || c.Files != 1 {
		t.Errorf("counted %+v", c)
	}
}

// A crash between the hand-over and the commit gives the same file again: there is
// one, and one pointer to it (U8).
func TestShaperDivertsOnce(t *testing.T) {
	s := openSpool(t)
	putAs(t, s, 1, "large one")
	files := new(drawer)
	for range 3 { // the pointer is never committed
		blocked := &refusing{Spool: s}
		blocked.refusals.Store(1 << 30)
		was := files.asked
		diverting(t, blocked, files, new(bridge.DropLog), new(bridge.Health), func() bool { return blocked.refusals.Load() < 1<<30 })
		if files.asked == was {
			t.Fatal("the file was not handed over again")
		}
	}
	if n := s.Depth(normal).Records; n != 0 {
		t.Fatalf("%d pointers to a file whose record still waits", n)
	}
	diverting(t, s, files, new(bridge.DropLog), new(bridge.Health), depth(s, bridge.RawQueue(normal), 0))
	if got := content(t, s, normal); len(got) != 1 || files.held() != 1 {
		t.Errorf("%d pointers and %d files, want one of each: %q", len(got), files.held(), got)
	}
	balanced(t, s, 1)
}

// While the file path takes nothing its messages wait, in the raw queue, and the
// rest of the route goes on until the room for those that wait is full.
func TestShaperWaitsForTheFilePath(t *testing.T) {
	s := openSpool(t)
	const large = 40
	for n := 1; n <= large; n++ {
		putAs(t, s, 2*n, fmt.Sprint("large ", n))
		putAs(t, s, 2*n+1, fmt.Sprint("small ", n))
	}
	files, health := &drawer{enter: make(chan struct{}, large)}, new(bridge.Health)
	var stages sync.WaitGroup
	stages.Go(func() {
		eventually(t, depth(s, normal, 31)) // those between the 32 that wait
		files.enter <- struct{}{}
		eventually(t, depth(s, normal, 33)) // one pointer, one more that may wait
		close(files.enter)
	})
	diverting(t, s, files, new(bridge.DropLog), health, depth(s, bridge.RawQueue(normal), 0))
	stages.Wait()
	if got := content(t, s, normal); len(got) != 2*large || files.held() != large {
		t.Errorf("%d messages and %d files, want %d and %d", len(got), files.held(), 2*large, large)
	}
	balanced(t, s, 2*large)
}

// What the file path refuses for now is tried again, with a warning meanwhile; what
// it will never take goes as it is.
func TestShaperWhenTheFilePathRefuses(t *testing.T) {
	s := openSpool(t)
	putAs(t, s, 1, "large, later")
	putAs(t, s, 2, "large, never")
	health := new(bridge.Health)
	warned := ""
	files := &drawer{}
	files.answer = func(n int, f *bridge.File) error {
		switch {
		case n == 1:
			return bridge.Errorf(bridge.OpDivert, bridge.Full, "%w", errors.New("enospc"))
		case n == 2:
			for _, w := range health.Warnings() {
				warned = w.Text
			}
		case strings.HasSuffix(f.FileID, idOf(2).String()):
			return bridge.Errorf(bridge.OpDivert, bridge.TooLarge, "larger than the largest file")
		}
		return nil
	}
	diverting(t, s, files, new(bridge.DropLog), health, depth(s, bridge.RawQueue(normal), 0))
	if got := content(t, s, normal); len(got) != 2 || !strings.HasPrefix(got[0], `{"topic":"plant/cam 1/image"`) || got[1] != "large, never" {
		t.Errorf("sent %q", got)
	}
	if !strings.Contains(warned, "enospc") {
		t.Errorf("while it waited it was warned %q", warned)
	}
	ws := health.Warnings()
	if len(ws) != 1 || ws[0].Code != "divert-"+normal || !strings.Contains(ws[0].Text, "dead letters") {
		t.Errorf("warnings %+v", ws)
	}
}

// What an operator gives up while its file is handed over is given up: no pointer
// goes for it.
func TestShaperDivertsNothingThatWasDropped(t *testing.T) {
	s := openSpool(t)
	log := openLog(t, s, bridge.DefaultDropLimits())
	putAs(t, s, 1, "large one")
	raw := bridge.RawQueue(normal)
	files := &drawer{}
	files.answer = func(n int, _ *bridge.File) error {
		if n > 1 {
			return nil
		}
		c := s.Cursor(raw)
		defer c.Close()
		r, err := c.Next()
		if err != nil || r == nil {
			return fmt.Errorf("it is not there: %w", err)
		}
		var b bridge.Batch
		b.ReleaseAs(r, bridge.Dropped)
		done := make(chan error, 1)
		s.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
		return <-done
	}
	putAs(t, s, 2, "large two") // goes after the first has come to its end
	diverting(t, s, files, log, new(bridge.Health), func() bool {
		return s.Depth(raw).Records == 0 && files.held() == 2 && s.Depth(normal).Records > 0
	})
	if got := content(t, s, normal); len(got) != 1 || !strings.Contains(got[0], idOf(2).String()) {
		t.Errorf("sent %q, want the second one only", got)
	}
	if l := s.Ledger(raw); l.Dropped != 1 || l.Consumed != 1 {
		t.Errorf("the raw queue says %+v", l)
	}
}
