package sandbox

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
)

// Streams is the sandbox's part of AWS IoT's file delivery: whoever may publish to
// $aws/things/THING/streams/... gets blocks of what was put here. It does what the
// protocol's description says and no more, has its own reading of it, and counts
// what was asked for: a gateway that fetches something twice is seen.
type Streams struct {
	broker *localbroker.Broker

	mu      sync.Mutex
	streams map[string]*stream
	asked   []Asked
	busy    sync.WaitGroup
}

// mostAsked bounds what is kept of the blocks that were sent: the first ones.
const mostAsked = 100_000

type stream struct {
	version     int
	description string
	files       map[int][]byte
	blocks      int   // that were sent, of all versions
	bytes       int64 // of them
}

// Asked is one block that was sent.
type Asked struct {
	Thing, Stream string
	Version, File int
	From, To      int // bytes of the file
	Wire          int // bytes of the message
}

func newStreams() *Streams { return &Streams{streams: map[string]*stream{}} }

// Put defines a stream, or its next version, and returns the version: the first is
// 1. The files are not to be written to any more.
func (s *Streams) Put(id, description string, files map[int][]byte) (version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := &stream{version: 1, description: description, files: files}
	if was := s.streams[id]; was != nil {
		next.version, next.blocks, next.bytes = was.version+1, was.blocks, was.bytes
	}
	s.streams[id] = next
	return next.version
}

// Delete takes a stream away, and reports whether it was there.
func (s *Streams) Delete(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.streams[id]
	delete(s.streams, id)
	return there
}

// StreamState is a stream, and what has been sent of it.
type StreamState struct {
	ID      string      `json:"id"`
	Version int         `json:"version"`
	Files   map[int]int `json:"files"`  // size by number
	Blocks  int         `json:"blocks"` // that were sent, of all versions
	Bytes   int64       `json:"bytes"`  // of files in them
}

// States are the streams, by id.
func (s *Streams) States() []StreamState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []StreamState{}
	for _, id := range slices.Sorted(maps.Keys(s.streams)) {
		at := s.streams[id]
		files := make(map[int]int, len(at.files))
		for n, content := range at.files {
			files[n] = len(content)
		}
		out = append(out, StreamState{id, at.version, files, at.blocks, at.bytes})
	}
	return out
}

// Asked lists the blocks that were sent, in order.
func (s *Streams) Asked() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Owns implements localbroker.Family.
func (s *Streams) Owns(_, topic string) bool {
	l := strings.Split(topic, "/")
	return len(l) > 4 && l[0] == "$aws" && l[1] == "things" && l[3] == "streams"
}

// Admits implements localbroker.Family.
func (s *Streams) Admits(m *bridge.Message) error {
	if len(m.Payload) > 128<<10 {
		return bridge.Errorf(bridge.OpPublish, bridge.TooLarge, "payload of %d bytes", len(m.Payload))
	}
	return nil
}

// Subscribes implements localbroker.Family.
func (s *Streams) Subscribes(*bridge.Principal, string) bool { return true }

// Take implements localbroker.Family.
func (s *Streams) Take(r localbroker.FamilyRequest, done func(error)) {
	l := strings.Split(r.Message.Topic, "/")
	if len(l) != 7 || l[5] != "get" && l[5] != "describe" || l[6] != "json" && l[6] != "cbor" {
		done(nil) // AWS has no word for it
		return
	}
	a := &streamAsk{streams: s, who: r.From, thing: l[2], id: l[4], cbor: l[6] == "cbor"}
	payload := slices.Clone(r.Message.Payload)
	s.busy.Go(func() {
		if l[5] == "get" {
			a.get(payload)
		} else {
			a.describe(payload)
		}
	})
	done(nil)
}

// wait returns when nothing is being answered.
func (s *Streams) wait() { s.busy.Wait() }

// find is the present version of a stream, nil when there is none.
func (s *Streams) find(id string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

func (s *Streams) note(a Asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.streams[a.Stream]; at != nil {
		at.blocks++
		at.bytes += int64(a.To - a.From)
	}
	if len(s.asked) < mostAsked {
		s.asked = append(s.asked, a)
	}
}
