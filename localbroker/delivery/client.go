package delivery

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Transport carries a client's requests. It has subscribed to what Filters says.
type Transport interface {
	// Publish sends m once, now or not at all.
	Publish(m *bridge.Message) error
	// Up reports whether there is a connection.
	Up() bool
}

// Client asks for streams as a device does. Its methods may be called
// concurrently: each request has a token of its own.
type Client struct {
	thing  string
	format Format
	via    Transport
	prefix string // of tokens: another start's answers are not ours

	mu   sync.Mutex
	last uint64
	open map[string]*call // by token
}

// NewClient makes a client that speaks for a thing.
func NewClient(thing string, format Format, via Transport) *Client {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return &Client{thing: thing, format: format, via: via, prefix: hex.EncodeToString(b[:]) + "-", open: map[string]*call{}}
}

// Filters are the topics of the answers to a thing.
func Filters(thing string, format Format) (out []string) {
	for _, verb := range []string{verbDescription, verbData, verbRejected} {
		out = append(out, topic{thing, "+", verb, format}.String())
	}
	return out
}

// call is one request that awaits its answer.
type call struct {
	want   map[int]bool // blocks; nil: a description
	got    map[int][]byte
	stream *Stream
	fault  *Fault
	done   chan struct{} // closed once everything is there
}

// Get asks for blocks of a file.
type Get struct {
	Stream  string
	Version int
	File    int
	Block   int // size
	Numbers []int
}

// request is what is sent, but for the token.
func (g Get) request() map[string]any {
	first := g.Numbers[0]
	bits := make([]byte, (g.Numbers[len(g.Numbers)-1]-first)/8+1)
	for _, n := range g.Numbers { // ascending
		bits[(n-first)/8] |= 1 << ((n - first) % 8)
	}
	q := map[string]any{"s": g.Version, "f": g.File, "l": g.Block, "o": first, "n": len(g.Numbers)}
	if len(g.Numbers) <= g.Numbers[len(g.Numbers)-1]-first { // with gaps
		q["b"] = bits // base64 in JSON
	}
	return q
}

// ErrSilent is why a request failed that had no answer in time.
var ErrSilent = errors.New("no answer")

// Describe asks for the present version of a stream.
func (c *Client) Describe(ctx context.Context, stream string) (*Stream, error) {
	k := &call{done: make(chan struct{})}
	if err := c.do(ctx, topic{c.thing, stream, verbDescribe, c.format}, map[string]any{}, k); err != nil {
		return nil, err
	}
	k.stream.ID = stream
	return k.stream, nil
}

// Blocks asks for blocks and returns those that came, by number. With an error
// they may be some of those that were asked for.
func (c *Client) Blocks(ctx context.Context, g Get) (map[int][]byte, error) {
	k := &call{done: make(chan struct{}), want: map[int]bool{}, got: map[int][]byte{}}
	for _, n := range g.Numbers {
		k.want[n] = true
	}
	err := c.do(ctx, topic{c.thing, g.Stream, verbGet, c.format}, g.request(), k)
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.got, err
}

// await waits until there is a connection.
func (c *Client) await(ctx context.Context) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !c.via.Up() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// do sends one request and waits for its answer.
func (c *Client) do(ctx context.Context, t topic, q map[string]any, k *call) error {
	c.mu.Lock()
	c.last++
	token := c.prefix + strconv.FormatUint(c.last, 36)
	c.open[token] = k
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.open, token)
		c.mu.Unlock()
	}()
	q["c"] = token
	if err := c.via.Publish(&bridge.Message{Topic: t.String(), Payload: marshal(c.format, q)}); err != nil {
		return err
	}
	select {
	case <-k.done:
		if k.fault != nil {
			return k.fault
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrSilent, ctx.Err())
	}
}

// answer is what any answer may have.
type answer struct {
	Token   string          `json:"c" cbor:"c"`
	Version int             `json:"s" cbor:"s"`
	Text    string          `json:"d" cbor:"d"`
	Files   []describedFile `json:"r" cbor:"r"`
	File    int             `json:"f" cbor:"f"`
	Length  int             `json:"l" cbor:"l"`
	Number  int             `json:"i" cbor:"i"`
	Code    Code            `json:"o" cbor:"o"`
	Message string          `json:"m" cbor:"m"`
}

// Take takes a message that came, and reports whether it answers a request of
// this client.
func (c *Client) Take(m *bridge.Message) bool {
	if !ours(m.Topic) {
		return false
	}
	t, err := parseTopic(m.Topic)
	if err != nil || t.thing != c.thing || t.request() {
		return false
	}
	a, payload, err := readAnswer(t.format, m.Payload)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.open[a.Token]
	if k == nil {
		return false
	}
	select {
	case <-k.done:
		return false // more than was asked for
	default:
	}
	switch {
	case t.verb == verbRejected:
		k.fault = &Fault{Code: Code(heard(string(a.Code))), Text: heard(a.Message)}
	case t.verb == verbDescription && k.want == nil:
		if k.stream = a.described(); k.stream == nil {
			return false
		}
	case t.verb == verbData && k.want[a.Number] && len(payload) == a.Length:
		k.got[a.Number] = payload
		if len(k.got) < len(k.want) {
			return true
		}
	default:
		return false
	}
	close(k.done)
	return true
}

// described is the stream of a description, nil for one that cannot be.
func (a *answer) described() *Stream {
	s := &Stream{Version: a.Version, Description: a.Text}
	if a.Version < 0 || a.Version > maxVersion || len(a.Files) > maxFile+1 {
		return nil
	}
	for _, f := range a.Files {
		if f.File < 0 || f.File > maxFile || f.Size < 0 || f.Size > maxFileSize || s.file(f.File) != nil {
			return nil
		}
		s.Files = append(s.Files, File{ID: f.File, Size: f.Size})
	}
	return s
}

// readAnswer takes an answer apart, and its payload.
func readAnswer(format Format, b []byte) (a answer, payload []byte, err error) {
	if format == CBOR {
		var with struct {
			answer
			Payload []byte `cbor:"p"`
		}
		err = answerReader.Unmarshal(b, &with)
		return with.answer, with.Payload, err
	}
	var with struct {
		answer
		Payload string `json:"p"`
	}
	if err = json.Unmarshal(b, &with); err == nil {
		payload, err = base64.StdEncoding.DecodeString(with.Payload)
	}
	return with.answer, payload, err
}
