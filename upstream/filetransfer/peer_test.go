package filetransfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is an EMQX with a connection to it, as the specification of file protocols
// has it: the transfers of one client id, by file id.
type peer struct {
	t      *testing.T
	target *Target

	mu      sync.Mutex
	down    chan struct{} // nil: no connection
	largest int
	mqtt3   bool
	open    map[string]*upload
	done    map[string][]byte // exported
	meta    map[string]string // of what is exported
	sent    []string          // commands, the ids left out
	bytes   int64             // of segments that came

	// answer says of a command what is answered in place of what it deserves; nil:
	// nothing special.
	answer func(verb string, n int) *reply
}

// reply is an answer to a command.
type reply struct {
	code   byte
	word   string // of the response
	silent bool   // no response
	cut    bool   // the connection ends in place of an answer
}

// upload is an unfinished file there.
type upload struct {
	init     string
	segments map[int64][]byte
}

func (p *peer) ClientID() string { return "site-files" }

func (p *peer) Down() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down == nil {
		return nil
	}
	return p.down
}

func (p *peer) Largest() int { return p.largest }

// connect makes a connection; cut ends it.
func (p *peer) connect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = make(chan struct{})
}

func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil {
		close(p.down)
		p.down = nil
	}
}

// Send implements Link.
func (p *peer) Send(_ context.Context, m *bridge.Message, report func(bridge.Outcome)) error {
	p.mu.Lock()
	if p.down == nil {
		p.mu.Unlock()
		return errDown
	}
	r := p.take(m)
	p.mu.Unlock()
	if r.cut {
		report(bridge.Outcome{Result: bridge.ResultLost, Wire: 10})
		p.cut()
		return nil
	}
	o := bridge.Outcome{Result: bridge.ResultAcked, Wire: 10}
	if r.code != 0 && !p.mqtt3 {
		o.Result, o.Code = bridge.ResultRetry, r.code
		switch r.code {
		case noSubscribers:
			o.Result = bridge.ResultAcked
		case codeDenied:
			o.Result = bridge.ResultDenied
		case codeTooLarge:
			o.Result = bridge.ResultRefused
		}
	}
	report(o)
	if r.silent {
		return nil
	}
	code := 0
	if r.word != "success" {
		code = 128
	}
	payload, _ := json.Marshal(map[string]any{"vsn": "0.1", "topic": m.Topic, "packet_id": 7, "reason_code": code, "reason_description": r.word})
	back := &bridge.Message{Topic: m.ResponseTopic, Payload: payload, QoS: 1}
	if p.mqtt3 {
		back.Topic = "$file-response/site-files"
	} else {
		back.CorrelationData = bytes.Clone(m.CorrelationData)
	}
	if !p.target.Heard(back) {
		p.t.Errorf("nobody waits for the response to %s", m.Topic)
	}
	return nil
}

// take does what a command says. p.mu is held.
func (p *peer) take(m *bridge.Message) *reply {
	levels := strings.Split(m.Topic, "/")
	id, verb := levels[1], levels[2]
	if _, err := strconv.Atoi(verb); err == nil {
		verb = "segment"
	}
	p.sent = append(p.sent, verb)
	if p.answer != nil {
		if r := p.answer(verb, len(p.sent)); r != nil {
			return r
		}
	}
	if p.open[id] == nil && verb != "fin" {
		p.open[id] = &upload{segments: map[int64][]byte{}}
	}
	u := p.open[id]
	switch verb {
	case "init":
		if u.init != "" && u.init != string(m.Payload) {
			return &reply{code: 0x80, word: wordConflict}
		}
		u.init = string(m.Payload)
	case "segment":
		sum := sha256.Sum256(m.Payload)
		if levels[3] != hex.EncodeToString(sum[:]) {
			return &reply{code: 0x80, word: wordMismatch}
		}
		at, _ := strconv.ParseInt(levels[2], 10, 64)
		u.segments[at] = bytes.Clone(m.Payload)
		p.bytes += int64(len(m.Payload))
	case "abort":
		delete(p.open, id)
	case "fin":
		return p.fin(id, u, levels)
	}
	return &reply{word: "success"}
}

func (p *peer) fin(id string, u *upload, levels []string) *reply {
	if _, ok := p.done[id]; ok {
		delete(p.open, id)
		return &reply{word: "success"} // and nothing is compared
	}
	size, _ := strconv.ParseInt(levels[3], 10, 64)
	if u == nil || u.init == "" {
		return &reply{code: 0x80, word: wordIncomplete}
	}
	var all []byte
	for int64(len(all)) < size {
		s, ok := u.segments[int64(len(all))]
		if !ok {
			return &reply{code: 0x80, word: wordIncomplete}
		}
		all = append(all, s...)
	}
	if sum := sha256.Sum256(all); int64(len(all)) != size || hex.EncodeToString(sum[:]) != levels[4] {
		return &reply{code: 0x80, word: wordInternal}
	}
	p.done[id], p.meta[id] = all, u.init
	delete(p.open, id)
	return &reply{word: "success"}
}

// held is a shelf in memory.
type held struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (h *held) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	h.mu.Lock()
	for _, p := range b.Puts {
		h.m[p.Namespace+" "+p.Key] = p.Value
	}
	h.mu.Unlock()
	if done != nil {
		done(0, nil)
	}
}

func (h *held) Get(namespace, key string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.m[namespace+" "+key], nil
}

func (h *held) Scan(namespace, prefix string, fn func(string, []byte) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, v := range h.m {
		if key, ok := strings.CutPrefix(k, namespace+" "); ok && strings.HasPrefix(key, prefix) && !fn(key, v) {
			break
		}
	}
	return nil
}

func (h *held) Forget(namespace string, keys ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range keys {
		delete(h.m, namespace+" "+k)
	}
}

// free is a pace that lets everything go, until it is told to hold.
type free struct {
	hold  bool
	after int // bytes, and then it holds
	yield bool
}

func (f *free) Wait(ctx context.Context, n int) error {
	if f.after > 0 {
		if f.after -= n; f.after <= 0 {
			f.hold = true
		}
	}
	if f.hold {
		return bridge.Errorf(bridge.OpExport, bridge.Unavailable, "%w: a window", bridge.ErrHeld)
	}
	return ctx.Err()
}

func (f *free) Yields() bool { return f.yield }

// world is a target and its peer.
type world struct {
	*peer
	shelf *held
	pace  *free
}

func newWorld(t *testing.T) *world {
	w := &world{
		peer:  &peer{t: t, open: map[string]*upload{}, done: map[string][]byte{}, meta: map[string]string{}},
		shelf: &held{m: map[string][]byte{}}, pace: &free{},
	}
	w.restart()
	w.connect()
	return w
}

// restart makes a new target, which knows what is on the shelf.
func (w *world) restart() {
	w.target = New(Options{Upstream: "emqx"}, Deps{Gateway: "site", Link: w.peer, Shelf: w.shelf, Pace: w.pace, Log: slog.New(slog.DiscardHandler)})
}

// fileOf makes a file of a device.
func fileOf(client, id string, size int, seed uint64) (*bridge.File, []byte) {
	content := make([]byte, size)
	chance := rand.New(rand.NewPCG(seed, 1))
	for i := range content {
		content[i] = byte(chance.Uint32())
	}
	return &bridge.File{
		ClientID: client, FileID: id, Name: "a.bin", Size: int64(size), SHA256: sha256.Sum256(content),
		Meta: fmt.Appendf(nil, `{"name":"a.bin","user_data":{"n":1},"expire_at":5000000000}`), Content: bytes.NewReader(content),
	}, content
}

// arrived fails unless the only file there is that content.
func (w *world) arrived(content []byte) {
	w.t.Helper()
	if len(w.done) != 1 {
		w.t.Fatalf("%d files are there", len(w.done))
	}
	for _, got := range w.done {
		if !bytes.Equal(got, content) {
			w.t.Errorf("%d bytes arrived that are not the %d that were sent", len(got), len(content))
		}
	}
}
