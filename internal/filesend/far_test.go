package filesend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// far is the other side: a broker that keeps the segments of one file, and does to
// each command what the test says before.
type far struct {
	t  *testing.T
	v3 bool

	mu       sync.Mutex
	down     chan struct{}
	hears    func(*bridge.Message) bool
	script   func(n int, rest string) verdict // of the nth command
	commands []string                         // what came, without root and id
	init     []byte
	segments map[int64][]byte
	whole    []byte // what fin has put together
	flying   int
	most     int
}

// verdict is what is done to a command.
type verdict struct {
	code   byte
	word   string // of a response; empty with code 0: the command is carried out
	silent bool   // no response
	cut    bool   // the connection ends, and comes back
}

func newFar(t *testing.T) *far {
	return &far{t: t, down: make(chan struct{}), segments: map[int64][]byte{}}
}

// Down implements Link.
func (f *far) Down() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

// Send implements Link: it takes the command at once, and answers a moment later.
func (f *far) Send(_ context.Context, m *bridge.Message, report func(bridge.Outcome)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.QoS != 1 {
		f.t.Errorf("%s at QoS %d", m.Topic, m.QoS)
	}
	levels := strings.SplitN(m.Topic, "/", 3)
	rest := levels[2]
	f.commands = append(f.commands, rest)
	v := verdict{}
	if f.script != nil {
		v = f.script(len(f.commands), rest)
	}
	f.flying++
	f.most = max(f.most, f.flying)
	if v.code == 0 && v.word == "" && !v.cut {
		v.word = f.take(rest, bytes.Clone(m.Payload))
		if v.word != "" {
			v.code = 0x80
		}
	}
	go f.answer(m.Topic, levels[0] == "$file-async", v, report)
	return nil
}

// take does what a command says, and returns the word of its refusal.
func (f *far) take(rest string, payload []byte) string {
	levels := strings.Split(rest, "/")
	switch levels[0] {
	case "init":
		if f.init != nil && !bytes.Equal(f.init, payload) {
			return "filemeta_conflict"
		}
		f.init = payload
	case "fin":
		f.whole = nil
		size, _ := strconv.ParseInt(levels[1], 10, 64)
		for at := int64(0); at < size; {
			b, ok := f.segments[at]
			if !ok {
				return "incomplete"
			}
			f.whole = append(f.whole, b...)
			at += int64(len(b))
		}
		if sum := sha256.Sum256(f.whole); hex.EncodeToString(sum[:]) != levels[2] {
			return "checksum_mismatch"
		}
	default:
		at, err := strconv.ParseInt(levels[0], 10, 64)
		if err != nil {
			return "invalid_offset"
		}
		f.segments[at] = payload
	}
	return ""
}

func (f *far) answer(topic string, async bool, v verdict, report func(bridge.Outcome)) {
	<-time.After(time.Millisecond) // of synctest
	f.mu.Lock()
	f.flying--
	hears := f.hears
	if v.cut {
		close(f.down)
		f.down = make(chan struct{})
		f.mu.Unlock()
		report(bridge.Outcome{Result: bridge.ResultLost})
		return
	}
	f.mu.Unlock()
	o := bridge.Outcome{Result: bridge.ResultAcked, MQTT3: f.v3}
	if !f.v3 && !async && v.code > 0 {
		o.Code, o.Result = v.code, bridge.ResultRetry
	}
	report(o)
	if v.silent {
		return
	}
	r := response{Topic: topic, Word: "success"}
	if v.word != "" && v.word != wordSuccess || v.code > 0 {
		r.Code, r.Word = 128, v.word
	}
	payload, _ := json.Marshal(r)
	hears(&bridge.Message{Topic: "$file-response/me", Payload: payload})
}
