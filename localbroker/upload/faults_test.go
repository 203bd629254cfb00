package upload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryShelf is a shelf that keeps everything.
type memoryShelf struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *memoryShelf) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	s.mu.Lock()
	for _, p := range b.Puts {
		if p.Value == nil {
			delete(s.values, p.Namespace+"\x00"+p.Key)
			continue
		}
		s.values[p.Namespace+"\x00"+p.Key] = p.Value
	}
	s.mu.Unlock()
	done(0, nil)
}

func (s *memoryShelf) Get(namespace, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[namespace+"\x00"+key], nil
}

func (s *memoryShelf) Scan(namespace, prefix string, fn func(key string, value []byte) bool) error {
	s.mu.Lock()
	all := maps.Clone(s.values)
	s.mu.Unlock()
	for k, v := range all {
		if key, ok := strings.CutPrefix(k, namespace+"\x00"); ok && strings.HasPrefix(key, prefix) && !fn(key, v) {
			break
		}
	}
	return nil
}

func (s *memoryShelf) Forget(namespace string, keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.values, namespace+"\x00"+key)
	}
}

func (s *memoryShelf) Age() time.Duration { return time.Hour }

// plainFolder is a target: it checks and writes, and nothing else.
type plainFolder string

func (p plainFolder) Put(_ context.Context, f *bridge.File) (string, error) {
	b := make([]byte, f.Size)
	if n, err := f.Content.ReadAt(b, 0); n < len(b) {
		return "", err
	}
	if sha256.Sum256(b) != f.SHA256 {
		return "", errReadSegment
	}
	place := filepath.Join(string(p), f.ClientID, f.FileID, f.Name)
	return place, errors.Join(os.MkdirAll(filepath.Dir(place), 0o700), os.WriteFile(place, b, 0o600))
}

func (plainFolder) Abandon(context.Context, func(string, string) bool) error { return nil }

func (plainFolder) Remove(_ context.Context, place string) error { return os.Remove(place) }

func (plainFolder) Open(_ context.Context, place string) (io.ReadCloser, error) {
	return os.Open(place)
}

// yard is a service on a shelf in memory.
type yard struct {
	*Service
	t        *testing.T
	health   *bridge.Health
	exports  string
	messages int64
}

// openYard starts one; before may change it before it runs.
func openYard(t *testing.T, before func(*yard)) *yard {
	t.Helper()
	y := newYard(t)
	if before != nil {
		before(y)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- y.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return y
}

// newYard makes one that does not run.
func newYard(t *testing.T) *yard {
	t.Helper()
	o := DefaultOptions()
	o.Dir, o.Export.Mode = t.TempDir(), modeDirect
	y := &yard{t: t, health: &bridge.Health{}, exports: t.TempDir()}
	var err error
	y.Service, err = Open(o, Deps{
		Shelf: &memoryShelf{values: map[string][]byte{}}, Target: plainFolder(y.exports), Tell: func(*bridge.Message) {}, Drops: new(bridge.DropLog), Health: y.health,
		Log: slog.New(slog.DiscardHandler), Wall: func() (time.Time, bool) { return time.Time{}, false },
		Messages: func() int64 { y.messages++; return y.messages },
	})
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// send publishes a command and waits for its answer.
func (y *yard) send(topic, payload string) error {
	answer := make(chan error, 1)
	y.Take(Request{ClientID: "c", Message: &bridge.Message{Topic: topic, Payload: []byte(payload), QoS: 1}, PacketID: 1, After: func(fn func()) { fn() }},
		func(err error) { answer <- err })
	return <-answer
}

func (y *yard) ok(topic, payload string) {
	y.t.Helper()
	if err := y.send(topic, payload); err != nil {
		y.t.Fatalf("%s: %v", topic, err)
	}
}

func (y *yard) warned(code string) bool {
	for _, w := range y.health.Warnings() {
		if w.Code == code {
			return true
		}
	}
	return false
}

// TestSyncFailure: what the kernel does not confirm is never acknowledged, its
// pages are not believed afterwards, and the file is whole when the device has sent
// it again.
func TestSyncFailure(t *testing.T) {
	for _, gentle := range []bool{false, true} {
		t.Run(fmt.Sprintf("gentle %v", gentle), func(t *testing.T) {
			var mu sync.Mutex
			failing := false
			fail := func(v bool) {
				mu.Lock()
				defer mu.Unlock()
				failing = v
			}
			y := openYard(t, func(y *yard) {
				y.sync.sync = func(f *os.File) error {
					mu.Lock()
					defer mu.Unlock()
					if failing {
						return syscall.EIO
					}
					return syncData(f)
				}
				if !gentle {
					y.sync.pacer.messages = func() int64 { return 0 }
				}
			})
			y.ok("$file/f/init", `{"name":"a.bin"}`)
			y.ok("$file/f/0", "first ")
			fail(true)
			var f *Fault
			if err := y.send("$file/f/6", "second "); !errors.As(err, &f) || f.Word != "eio" || f.Code != 0x80 {
				t.Fatalf("a segment that is not on the disk is answered with %v", err)
			}
			if !y.warned(warningSync) {
				t.Error("nobody is warned")
			}
			if err := y.send("$file/f/fin/13", ""); !errors.As(err, &f) || f.Word != "incomplete" {
				t.Fatalf("fin without that segment: %v", err)
			}
			fail(false)
			y.ok("$file/f/6", "second ")
			y.ok("$file/f/13", "third")
			if y.warned(warningSync) {
				t.Error("the warning stays")
			}
			t0 := y.open[pair{"c", "f"}]
			if !t0.prefix.distrusted() {
				t.Error("the checksum of what was in memory is still believed")
			}
			want := "first second third"
			y.ok(fmt.Sprintf("$file/f/fin/%d/%x", len(want), sha256.Sum256([]byte(want))), "")
			got, err := os.ReadFile(filepath.Join(y.exports, "c", "f", "a.bin"))
			if err != nil || string(got) != want {
				t.Errorf("exported: %q, %v", got, err)
			}
		})
	}
}

// TestPrefixBehind: hashing falls behind no further than hashBehind, and what it
// gives is the checksum of what came in order.
func TestPrefixBehind(t *testing.T) {
	var p prefix
	y := openYard(t, nil)
	y.hashing.Store(hashBehind) // others have it all
	whole, at := sha256.New(), int64(0)
	for i := range 50 {
		if i == 25 {
			y.hashing.Store(0)
		}
		b := []byte(strings.Repeat(fmt.Sprint(i), 1000))
		p.add(&y.hashing, at, at, new(loads).take(b, 1))
		p.add(&y.hashing, at+1, at+1, new(loads).take(b, 1))                         // out of order: not its business
		p.add(&y.hashing, at, at+int64(len(b)), new(loads).take(b, 1))               // does not stand where it belongs
		p.add(&y.hashing, at+int64(len(b)), at, new(loads).take([]byte("other"), 1)) // nor does this
		_, _ = whole.Write(b)
		at += int64(len(b))
	}
	h, rest := p.begin([]piece{{span: span{0, at}}})
	if len(rest) != 0 || string(h.Sum(nil)) != string(whole.Sum(nil)) || y.hashing.Load() != 0 {
		t.Errorf("%d pieces left, %x, want %x; %d bytes counted", len(rest), h.Sum(nil), whole.Sum(nil), y.hashing.Load())
	}
}

// TestTinySegments: a device that cuts a file into single bytes is refused before
// they cost more than they carry, for good; another is not disturbed (§9).
func TestTinySegments(t *testing.T) {
	y := openYard(t, nil)
	var senders sync.WaitGroup
	for i := range manySegments {
		senders.Go(func() {
			if err := y.send(fmt.Sprintf("$file/tiny/%d", i), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	var f *Fault
	if err := y.send(fmt.Sprintf("$file/tiny/%d", manySegments), "x"); !errors.As(err, &f) || f.Code != 0x83 {
		t.Errorf("one more is answered with %v", err)
	}
	y.ok(fmt.Sprintf("$file/tiny/%d", manySegments), strings.Repeat("x", manySegments*leastAverage))
	y.ok("$file/other/0", "x")
}

// TestClientSegments: one client cannot take all the segments that there are room
// for.
func TestClientSegments(t *testing.T) {
	y := openYard(t, func(y *yard) { y.opts.AllSegments = 6 })
	for i := range 3 {
		y.ok(fmt.Sprintf("$file/f/%d", i), "x")
	}
	var f *Fault
	if err := y.send("$file/f/3", "x"); !errors.As(err, &f) || f.Word != "edquot" || f.Code != 0x97 {
		t.Errorf("the fourth of six is answered with %v", err)
	}
	y.ok("$file/f/2", "y") // in place of one that is there
}

// TestHeadroom: below the headroom a segment is refused with 0x97, enospc, and a
// warning; with room again the next is taken.
func TestHeadroom(t *testing.T) {
	y := openYard(t, func(y *yard) { y.opts.Headroom = 1 << 60 })
	var f *Fault
	if err := y.send("$file/f/0", "x"); !errors.As(err, &f) || f.Word != "enospc" || f.Code != 0x97 {
		t.Errorf("without room: %v", err)
	}
	var more int64
	_, text, _ := strings.Cut(y.warns(warningFull), "which are refused: ")
	if _, err := fmt.Sscanf(text, "free %d MiB more", &more); err != nil || more >= 1<<40 || more < 1<<40-1<<30 { // but for what is free
		t.Errorf("it warns: %s, %v", y.warns(warningFull), err)
	}
	if a, b := wholeMiB(1), wholeMiB(1<<20+1); a != 1 || b != 2 {
		t.Errorf("%d and %d MiB", a, b)
	}
	y.opts.Headroom = 0
	y.ok("$file/f/0", "x")
	if y.warned(warningFull) {
		t.Error("the warning stays")
	}
}

// TestDamagedSegment: a bit that flips in the file of segments while the gateway
// is away is noticed at fin, and what is sent again takes its place.
func TestDamagedSegment(t *testing.T) {
	y := openYard(t, nil)
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first ")
	y.ok("$file/f/6", "second")
	p := y.open[pair{"c", "f"}]
	p.prefix.distrust() // as after a start, which knows no checksum of it
	if _, err := p.data.WriteAt([]byte("S"), 6); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("first second"))
	fin := fmt.Sprintf("$file/f/fin/12/%x", sum)
	var f *Fault
	if err := y.send(fin, ""); !errors.As(err, &f) || f.Word != "read_segment" || f.Code != 0x80 {
		t.Errorf("a damaged segment: %v", err)
	}
	y.ok("$file/f/0", "first ")
	y.ok("$file/f/6", "second")
	y.ok(fin, "")
	got, err := os.ReadFile(filepath.Join(y.exports, "c", "f", "a.bin"))
	if err != nil || string(got) != "first second" {
		t.Errorf("exported: %q, %v", got, err)
	}
}
