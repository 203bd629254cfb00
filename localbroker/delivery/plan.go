package delivery

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/ebbgate/ebbgate/bridge"
)

// Plan is what a download takes, before it begins: as long as nothing has to be asked
// twice.
type Plan struct {
	Stream   string `json:"stream"`
	Version  int    `json:"version"`
	Size     int64  `json:"size"` // bytes that are to come
	Block    int    `json:"block"`
	Blocks   int64  `json:"blocks"`
	Requests int64  `json:"requests"`         // that are sent, the one for the description too
	Answers  int64  `json:"answers"`          // that come: a block each, and the description
	Up       int64  `json:"metered_up"`       // of the requests, and of the PUBACKs of the answers
	Down     int64  `json:"metered_down"`     // of the answers
	Wire     int64  `json:"wire_bytes"`       // of both, without TLS and TCP
	Cached   int64  `json:"cached,omitempty"` // bytes that are here already
}

// ChunkSize is the block in which a gateway fetches from the cloud.
const ChunkSize = chunkSize

// ErrNoStream is that the cloud has no such stream.
var ErrNoStream = errNoStream

// Meter says how many units of the bill messages are.
type Meter struct {
	Up   func(*bridge.Message) int64
	Down func(*bridge.Message) int64
	Ack  int64 // a PUBACK of what comes
}

// onWire is what a PUBLISH has beside its topic and its payload: type, length, the
// topic's length, packet id, no properties; ackOnWire is a PUBACK.
const (
	onWire    = 9
	ackOnWire = 4
)

// planner adds the messages of a plan up.
type planner struct {
	Plan
	of    *Client
	meter Meter
	asked uint64            // requests so far, for their tokens
	known map[kind][2]int64 // units and wire bytes of the answers of one kind
}

// kind is what the size of a block's message depends on.
type kind struct{ file, length, digits, token int }

func (c *Client) plan(s *Stream, block int, meter Meter) *planner {
	p := &planner{Plan: Plan{Stream: s.ID, Version: s.Version, Block: block}, of: c, meter: meter, known: map[kind][2]int64{}}
	token := p.token()
	p.up(topic{c.thing, s.ID, verbDescribe, c.format}, map[string]any{"c": token})
	answer := describe(s, token)
	down := &bridge.Message{Topic: topic{c.thing, s.ID, verbDescription, c.format}.String(), Payload: marshal(c.format, answer)}
	p.down(meter.Down(down), wireOf(down))
	return p
}

func wireOf(m *bridge.Message) int64 { return int64(len(m.Topic) + len(m.Payload) + onWire) }

func (p *planner) token() string {
	p.asked++
	return p.of.prefix + strconv.FormatUint(p.asked, 36)
}

func (p *planner) up(t topic, q map[string]any) {
	m := &bridge.Message{Topic: t.String(), Payload: marshal(p.of.format, q)}
	p.Requests++
	p.Up += p.meter.Up(m)
	p.Wire += wireOf(m)
}

// down adds an answer: at QoS 1, which is what is subscribed to.
func (p *planner) down(units, wire int64) {
	p.Answers++
	p.Up += p.meter.Ack
	p.Down += units
	p.Wire += wire + ackOnWire
}

// ask adds one request for blocks of a file, and its answers.
func (p *planner) ask(f *File, numbers []int) {
	token := p.token()
	q := Get{p.Stream, p.Version, f.ID, p.Block, numbers}.request()
	q["c"] = token
	p.up(topic{p.of.thing, p.Stream, verbGet, p.of.format}, q)
	for _, n := range numbers {
		length := int(min(int64(p.Block), f.Size-int64(n)*int64(p.Block)))
		k := kind{f.ID, length, len(marshal(p.of.format, n)), len(token)}
		cost, known := p.known[k]
		if !known {
			b := &block{Token: token, File: f.ID, Length: length, Number: n, Payload: make([]byte, length)}
			m := &bridge.Message{Topic: topic{p.of.thing, p.Stream, verbData, p.of.format}.String(), Payload: b.payload(p.of.format)}
			cost = [2]int64{p.meter.Down(m), wireOf(m)}
			p.known[k] = cost
		}
		p.Blocks++
		p.Size += int64(length)
		p.down(cost[0], cost[1])
	}
}

// Plan asks what the stream is, and says what its file takes from the beginning.
func (d *Download) Plan(ctx context.Context, meter Meter) (*Plan, error) {
	s, err := d.describe(ctx)
	if err != nil {
		return nil, err
	}
	f := s.file(d.File)
	if f == nil {
		return nil, fmt.Errorf("stream %s has no file %d", d.Stream, d.File)
	}
	if least := (f.Size + maxOffset) / (maxOffset + 1); int64(d.Block) < least {
		return nil, fmt.Errorf("file %d of stream %s has more blocks of %d bytes than can be asked for (%d): take blocks of %d bytes at least", d.File, d.Stream, d.Block, maxOffset+1, least)
	}
	return d.planOf(s, f, meter), nil
}

// PlanOf says what the file of a plan takes by this download, of which nothing is asked:
// in other blocks, or another format.
func (d *Download) PlanOf(p *Plan, meter Meter) *Plan {
	f := File{ID: d.File, Size: p.Size}
	return d.planOf(&Stream{ID: p.Stream, Version: p.Version, Files: []File{f}}, &f, meter)
}

func (d *Download) planOf(s *Stream, f *File, meter Meter) *Plan {
	state := downloadState{Size: f.Size, Block: d.Block}
	p, all := d.Client.plan(s, d.Block, meter), state.blocks()
	var numbers []int
	for n := range all {
		if numbers = append(numbers, n); len(numbers) == d.most() || n == all-1 {
			p.ask(f, numbers)
			numbers = numbers[:0]
		}
	}
	return &p.Plan
}

// Plan says what it would take to fetch what is missing of a stream, as far as it fits
// into the cache. It asks the cloud what the stream is, if that is not known or old, and
// waits for a connection then.
func (c *Cloud) Plan(ctx context.Context, id string, meter Meter) (*Plan, error) {
	s, err := c.stream(ctx, prefetcher, id)
	if errors.Is(err, errAway) && c.client.await(ctx) == nil {
		s, err = c.stream(ctx, prefetcher, id)
	}
	if err != nil {
		return nil, err
	}
	p := c.client.plan(s, chunkSize, meter)
	for f, n := range c.missing(s) {
		p.ask(f, []int{int(n)})
	}
	p.Cached = c.cache.held()[editionKey{id, s.Version, s.edition()}]
	return &p.Plan, nil
}
