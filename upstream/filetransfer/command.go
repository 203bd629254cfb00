package filetransfer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Link is the connection to the other side, whichever it is at present. It has
// subscribed to [ResponseFilter] of its client id, and hands what comes to
// [Target.Heard].
type Link interface {
	// ClientID is what it is logged in with, always the same.
	ClientID() string

	// Down is closed when the present connection ends, after the last report; nil
	// when there is none.
	Down() <-chan struct{}

	// Send sends m at QoS 1, for one goroutine at a time. Unless it fails the
	// outcome comes once, through report, which must not block.
	Send(ctx context.Context, m *bridge.Message, report func(bridge.Outcome)) error

	// Largest is the largest packet that the other side takes, 0 for any.
	Largest() int
}

// ResponseFilter is what a connection subscribes to for the responses.
func ResponseFilter(clientID string) string { return "$file-response/" + clientID }

// refusal is what the other side said to a command.
type refusal struct {
	code byte   // of the PUBACK; 0: none came, or it was success
	word string // of the response; empty: none came
}

// Error tells it to people.
func (r *refusal) Error() string {
	switch {
	case r.word == "":
		return fmt.Sprintf("refused with 0x%02X", r.code)
	case r.code == 0:
		return "refused: " + r.word
	}
	return fmt.Sprintf("refused with 0x%02X, %s", r.code, r.word)
}

// The ends of a command that has no answer.
var (
	errDown   = errors.New("the connection ended")
	errSilent = errors.New("no response")
)

// wordPatience is how long the response to a refused command is awaited: the PUBACK
// has come, and the two go on one connection.
const wordPatience = 3 * time.Second

// commands are those whose answers are awaited. Of one topic there is one at a time.
type commands struct {
	link   Link
	prefix string // of the correlation data: another start's answers are not ours
	turn   chan struct{}

	mu   sync.Mutex
	last uint64
	open map[string]*command // by topic
}

func newCommands(l Link) *commands {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return &commands{link: l, prefix: hex.EncodeToString(b[:]) + "-", turn: make(chan struct{}, 1), open: map[string]*command{}}
}

// command is one that was sent.
type command struct {
	of     *commands
	topic  string
	token  string
	down   <-chan struct{}
	begun  time.Time
	done   chan struct{} // closed once err is set
	err    error
	waited *time.Timer // for the word of a refusal
}

// send sends a command. Its answer is awaited by wait, which is called in any case
// when there is no error.
func (c *commands) send(ctx context.Context, topic string, payload []byte) (*command, error) {
	k := &command{of: c, topic: topic, down: c.link.Down(), done: make(chan struct{}), begun: time.Now()}
	if k.down == nil {
		return nil, errDown
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	c.last++
	k.token = c.prefix + strconv.FormatUint(c.last, 36)
	c.open[topic] = k
	c.mu.Unlock()
	m := &bridge.Message{Topic: topic, Payload: payload, QoS: 1, Properties: bridge.Properties{
		ResponseTopic: ResponseFilter(c.link.ClientID()), CorrelationData: []byte(k.token),
	}}
	if err := c.link.Send(ctx, m, k.acknowledged); err != nil {
		k.end(err)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", errDown, err)
	}
	return k, nil
}

// acknowledged takes what became of the PUBLISH.
func (k *command) acknowledged(o bridge.Outcome) {
	switch {
	case o.Result == bridge.ResultAcked && o.Code != noSubscribers:
	case o.Result == bridge.ResultLost:
		k.end(errDown)
	case o.Result == bridge.ResultDenied || o.Result == bridge.ResultRefused:
		k.end(&refusal{code: o.Code, word: ""})
	default:
		k.of.mu.Lock()
		defer k.of.mu.Unlock()
		if k.waited == nil && !k.overLocked() {
			k.waited = time.AfterFunc(wordPatience, func() { k.end(&refusal{code: o.Code}) })
			k.err = &refusal{code: o.Code} // until the word comes
		}
	}
}

// noSubscribers is the code by which EMQX says that a command's handler has failed,
// and any broker that it has no file transfer.
const noSubscribers = 0x10

// end is the end of a command, once.
func (k *command) end(err error) {
	k.of.mu.Lock()
	defer k.of.mu.Unlock()
	k.endLocked(err)
}

func (k *command) overLocked() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

func (k *command) endLocked(err error) {
	if k.overLocked() {
		return
	}
	k.err = err
	if k.waited != nil {
		k.waited.Stop()
	}
	if k.of.open[k.topic] == k {
		delete(k.of.open, k.topic)
	}
	close(k.done)
}

// wait waits for the answer, for so long at the most.
func (k *command) wait(ctx context.Context, patience time.Duration) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-k.done:
	case <-k.down:
		k.end(errDown)
	case <-late.C:
		k.end(fmt.Errorf("%w for %v", errSilent, patience))
	case <-ctx.Done():
		k.end(ctx.Err())
	}
	<-k.done
	return k.err
}

// response is what the other side says about a command.
type response struct {
	Topic       string `json:"topic"`
	Code        int    `json:"reason_code"`
	Description string `json:"reason_description"`
}

// heard takes a message of the subscription, and reports whether it answers a
// command.
func (c *commands) heard(m *bridge.Message) bool {
	var r response
	if !strings.HasPrefix(m.Topic, "$file-response/") || json.Unmarshal(m.Payload, &r) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.open[r.Topic]
	if k == nil || len(m.CorrelationData) > 0 && string(m.CorrelationData) != k.token {
		return false // of an earlier attempt
	}
	if r.Code == 0 {
		k.endLocked(nil)
		return true
	}
	word := refusal{word: cut(r.Description)}
	if said, ok := errors.AsType[*refusal](k.err); ok {
		word.code = said.code
	}
	k.endLocked(&word)
	return true
}

// cut bounds what the other side says.
func cut(word string) string {
	if word == "" {
		return "no reason given"
	}
	return strings.ToValidUTF8(word[:min(len(word), 200)], "")
}
