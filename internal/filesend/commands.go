package filesend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Link is a connection that comes back by itself. It has subscribed to
// [ResponseFilter] of its client id, and hands what it hears to [Sender.Heard].
type Link interface {
	// Down is closed when the present connection has ended and everything sent on it
	// was reported; nil when there is none.
	Down() <-chan struct{}

	// Send sends m at QoS 1, for one goroutine at a time. Unless it fails the
	// outcome comes once, through report, which must not block.
	Send(ctx context.Context, m *bridge.Message, report func(bridge.Outcome)) error
}

// ResponseFilter is the topic of the responses to a client.
func ResponseFilter(clientID string) string { return "$file-response/" + clientID }

// Refused is what was said to a command that was not carried out.
type Refused struct {
	Command string
	Code    byte   // of the PUBACK; 0 when there was none that says something
	Word    string // of the response; empty when there was none
}

// Error tells it to people.
func (r *Refused) Error() string {
	switch {
	case r.Word == "":
		return fmt.Sprintf("%s was refused with 0x%02X", r.Command, r.Code)
	case r.Code == 0:
		return fmt.Sprintf("%s was refused: %s", r.Command, r.Word)
	}
	return fmt.Sprintf("%s was refused with 0x%02X: %s", r.Command, r.Code, r.Word)
}

// The codes that say what to do.
const (
	codeNobody  = 0x10 // no service takes it: EMQX means that all is to be sent anew
	codeGiveUp  = 0x83
	codeDenied  = 0x87
	codeBig     = 0x95
	codeWait    = 0x97
	wordSuccess = "success"
)

// Final reports whether sending again is of no use.
func (r *Refused) Final() bool {
	switch r.Code {
	case codeGiveUp, codeDenied, codeBig, 0x90, 0x99:
		return true
	}
	switch r.Word {
	case "efbig", "enametoolong", "checksum_required", "filemeta_conflict", "invalid_topic", "invalid_fileid", "invalid_file_command", "invalid_offset",
		"invalid_size", "invalid_checksum", "invalid_filemeta", "invalid_filemeta_json":
		return true
	}
	return false
}

// Denied reports whether the policy says no.
func (r *Refused) Denied() bool { return r.Code == codeDenied }

// TooLarge reports whether packets of that size are not taken at all.
func (r *Refused) TooLarge() bool { return r.Code == codeBig }

// waits reports whether it has to wait, and to be sent again then.
func (r *Refused) waits() bool {
	return r.Code == codeWait || r.Word == "enospc" || r.Word == "edquot" || r.Word == "eagain"
}

// The ends of a command that say nothing about it.
var (
	errDown   = errors.New("the connection ended")
	errSilent = errors.New("there was no response")
)

// response is the message about a command.
type response struct {
	Topic string `json:"topic"`
	Code  int    `json:"reason_code"`
	Word  string `json:"reason_description"`
}

// commands awaits the answers to commands, of which each topic has one at a time.
type commands struct {
	link    Link
	deliver bool // only a response counts, whatever the PUBACK says

	mu   sync.Mutex
	open map[string]*command
}

// command is one that was sent.
type command struct {
	of    *commands
	name  string
	topic string
	done  chan struct{} // closed once err is set
	once  sync.Once
	err   error
	late  *time.Timer // from its PUBACK on: the response does not come
}

// wordPatience is how long the words of a refusal are awaited whose code has come.
const wordPatience = 2 * time.Second

// send sends a command. patience is how long its response may take after its PUBACK.
func (c *commands) send(ctx context.Context, name, topic string, payload []byte, patience time.Duration) (*command, error) {
	k := &command{of: c, name: name, topic: topic, done: make(chan struct{})}
	c.mu.Lock()
	c.open[topic] = k
	c.mu.Unlock()
	err := c.link.Send(ctx, &bridge.Message{Topic: topic, Payload: payload, QoS: 1}, func(o bridge.Outcome) { k.acknowledged(o, patience) })
	if err != nil {
		k.end(errDown)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", errDown, err)
	}
	return k, nil
}

// acknowledged takes what became of the PUBLISH. In MQTT 3.1.1 a PUBACK says only
// that the response will follow.
func (k *command) acknowledged(o bridge.Outcome, patience time.Duration) {
	refused := o.Code == codeNobody || o.Code >= 0x80
	switch {
	case o.Result == bridge.ResultLost:
		k.end(errDown)
	case o.Code == codeDenied: // no service was asked, so none responds
		k.end(&Refused{Command: k.name, Code: o.Code})
	case refused:
		k.await(wordPatience, &Refused{Command: k.name, Code: o.Code})
	case o.Result != bridge.ResultAcked:
		k.end(fmt.Errorf("%s: %s", k.name, o.Reason))
	case o.MQTT3, k.of.deliver, k.name == commandInit, k.name == commandFin: // a broker without file transfer says that it has taken a message, too
		k.await(patience, errSilent)
	default:
		k.end(nil)
	}
}

// await ends the command with err unless its response comes in time.
func (k *command) await(patience time.Duration, err error) {
	k.of.mu.Lock()
	defer k.of.mu.Unlock()
	if k.of.open[k.topic] == k && k.late == nil {
		k.late = time.AfterFunc(patience, func() { k.end(err) })
		if r, ok := errors.AsType[*Refused](err); ok {
			k.err = r // its word is to come
		}
	}
}

// end ends the command, once.
func (k *command) end(err error) {
	k.once.Do(func() {
		k.of.mu.Lock()
		if k.of.open[k.topic] == k {
			delete(k.of.open, k.topic)
		}
		if k.late != nil {
			k.late.Stop()
		}
		k.err = err
		k.of.mu.Unlock()
		close(k.done)
	})
}

// heard takes a response, and reports whether it was one of ours.
func (c *commands) heard(m *bridge.Message) bool {
	var r response
	if json.Unmarshal(m.Payload, &r) != nil || r.Topic == "" {
		return false
	}
	c.mu.Lock()
	k := c.open[r.Topic]
	var code byte
	if k != nil {
		if said, ok := errors.AsType[*Refused](k.err); ok {
			code = said.Code
		}
	}
	c.mu.Unlock()
	switch {
	case k == nil: // answered by its PUBACK
	case r.Code == 0 && r.Word == wordSuccess:
		k.end(nil)
	default:
		k.end(&Refused{Command: k.name, Code: code, Word: r.Word})
	}
	return true
}

// wait waits for the answer.
func (k *command) wait(ctx context.Context) error {
	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
		k.end(ctx.Err())
		<-k.done
		return ctx.Err()
	}
}
