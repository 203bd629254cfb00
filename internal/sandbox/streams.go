package sandbox

import (
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

type stream struct {
	version     int
	description string
	files       map[int][]byte
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
	version = 1
	if was := s.streams[id]; was != nil {
		version = was.version + 1
	}
	s.streams[id] = &stream{version, description, files}
	return version
}

// Delete takes a stream away.
func (s *Streams) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, id)
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
	s.asked = append(s.asked, a)
}
