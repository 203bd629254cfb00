package delivery

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// aws is a cloud of streams, which answers at once and counts what it was asked.
type aws struct {
	t      *testing.T
	client *Client

	mu      sync.Mutex
	streams map[string]*awsStream
	asked   map[string]int // by verb
	names   []string       // of streams, in the order in which they were described
}

// awsStream is one of its streams: what it says of it, and what it has.
type awsStream struct {
	version int
	files   map[int][]byte
	sizes   map[int]int64 // that it claims, of what has another
	refuses *Fault        // what every request for blocks gets; nil: blocks
}

func newAWS(t *testing.T) *aws {
	a := &aws{t: t, streams: map[string]*awsStream{}, asked: map[string]int{}}
	a.client = NewClient("gateway", CBOR, a)
	return a
}

// put defines a stream of one file.
func (a *aws) put(id string, version int, file []byte) *awsStream {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &awsStream{version: version, files: map[int][]byte{0: file}}
	a.streams[id] = s
	return s
}

// count is how often it was asked so.
func (a *aws) count(verb string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[verb]
}

// Up implements Transport.
func (a *aws) Up() bool { return true }

// Publish implements Transport.
func (a *aws) Publish(m *bridge.Message) error {
	t, err := parseTopic(m.Topic)
	if err != nil {
		a.t.Error(err)
		return err
	}
	o := DefaultOptions()
	q, fault := o.read(t.verb, t.format, m.Payload)
	if fault != nil {
		a.t.Error(fault)
		return fault
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked[t.verb]++
	answer := func(verb string, payload []byte) {
		a.client.Take(&bridge.Message{Topic: t.with(verb), Payload: payload})
	}
	reject := func(f Fault) {
		f.Token = q.token
		answer(verbRejected, f.payload(t.format))
	}
	s := a.streams[t.stream]
	if t.verb == verbDescribe {
		a.names = append(a.names, t.stream)
	}
	switch {
	case s == nil:
		reject(Fault{Code: ResourceNotFound, Text: "no stream"})
	case t.verb == verbDescribe:
		d := &Stream{Version: s.version}
		for id := range maxFile {
			if b, there := s.files[id]; there {
				size := int64(len(b))
				if claimed, is := s.sizes[id]; is {
					size = claimed
				}
				d.Files = append(d.Files, File{ID: id, Size: size})
			}
		}
		answer(verbDescription, marshal(t.format, describe(d, q.token)))
	case s.refuses != nil:
		reject(*s.refuses)
	case q.version != s.version:
		reject(Fault{Code: VersionMismatch, Text: "another version"})
	default:
		file := s.files[q.file]
		numbers, err := q.blocks(int64(len(file)), false)
		if err != nil {
			reject(Fault{Code: InvalidRequest, Text: err.Error()})
			return nil
		}
		for _, n := range numbers {
			part := file[n*q.block : min((n+1)*q.block, len(file))]
			answer(verbData, (&block{q.token, q.file, len(part), n, part}).payload(t.format))
		}
	}
	return nil
}

// site is a cloud's streams here, with a cache in a folder.
func (a *aws) site(dir string, change ...func(*CloudOptions)) *Cloud {
	o := DefaultOptions().Cloud
	o.Recheck = 0
	for _, f := range change {
		f(&o)
	}
	c := NewCloud(o, a.client, openTestCache(a.t, dir, "account", 1<<30), new(bridge.Health), slog.New(slog.DiscardHandler))
	a.t.Cleanup(c.Close)
	return c
}

// file reads the file of a stream, so many chunks of it, as a device gets it.
func (c *Cloud) file(t *testing.T, id string, most int64) []byte {
	t.Helper()
	s, err := c.stream(t.Context(), "pump-7", id)
	if err != nil {
		t.Fatal(err)
	}
	f := s.file(0)
	var out []byte
	for n := range min(most, f.chunks()) {
		b, err := c.chunk(t.Context(), s, f, n)
		if err != nil {
			t.Fatalf("chunk %d: %v", n, err)
		}
		out = append(out, b...)
	}
	return out
}

// TestMadeAnewUnderItsVersion: a stream that was deleted and made anew counts its
// versions from the beginning. What is here of the old one is neither served nor mixed
// with the new one, whether it was here whole or in part, and after a start.
func TestMadeAnewUnderItsVersion(t *testing.T) {
	before, after := bytes.Repeat([]byte("old!"), 75_000), bytes.Repeat([]byte("new."), 85_000)
	for name, part := range map[string]int64{"whole": 100, "in part": 1} {
		for _, restarted := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", after a start"}[restarted], func(t *testing.T) {
				a, dir := newAWS(t), t.TempDir()
				c := a.site(dir)
				a.put("fw", 1, before)
				if got := c.file(t, "fw", part); !bytes.HasPrefix(before, got) {
					t.Fatal("another file")
				}
				a.put("fw", 1, after)
				if restarted {
					c = a.site(dir)
				}
				if got := c.file(t, "fw", 100); !bytes.Equal(got, after) {
					t.Errorf("%d bytes, of which %d are of the old file", len(got), 4*bytes.Count(got, []byte("old!")))
				}
				if s := c.cache.recall("fw"); s == nil || s.Size() != int64(len(after)) {
					t.Errorf("remembered: %+v", s)
				}
				if want := int64(len(after)) + 4*((int64(len(after))+chunkSize-1)/chunkSize); c.cache.size() != want {
					t.Errorf("the cache has %d bytes, want %d", c.cache.size(), want)
				}
			})
		}
	}
}

// TestMadeAnewHere: so it is with a stream whose folder was removed by hand.
func TestMadeAnewHere(t *testing.T) {
	s := openSite(t)
	for _, text := range []string{"old", "new"} {
		if err := os.RemoveAll(filepath.Join(s.library.dir, "fw")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.library.Create(t.Context(), "fw", Change{Paths: []string{s.write("fw.bin", []byte(text))}}); err != nil {
			t.Fatal(err)
		}
		d := s.listener("t-" + text)
		d.ask("fw", verbGet, JSON, []byte(`{"s":1,"f":0,"l":256,"n":1}`))
		if m := d.next(); string(m.p) != text {
			t.Errorf("%s, want %s", m.raw, text)
		}
	}
}

// TestUsedFromMemory: what devices get from memory counts as used on the disk, where what
// was not makes room.
func TestUsedFromMemory(t *testing.T) {
	a := newAWS(t)
	o := DefaultOptions().Cloud
	c := NewCloud(o, a.client, openTestCache(t, t.TempDir(), "account", 3*(chunkSize+4)), new(bridge.Health), slog.New(slog.DiscardHandler))
	defer c.Close()
	for _, id := range []string{"hot", "cold1", "hot", "cold2", "hot", "cold3", "hot", "cold4"} {
		if a.streams[id] == nil {
			a.put(id, 1, bytes.Repeat([]byte{'x'}, chunkSize))
		}
		c.file(t, id, 1)
	}
	s, err := c.stream(t.Context(), "pump-7", "hot")
	if err != nil || !c.cache.has(s.key(0, 0)) || a.count(verbGet) != 5 {
		t.Errorf("%v: not on the disk, asked %d times", err, a.count(verbGet))
	}
}
