package upstream

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Hooks are how a sender tells the gateway what it is not asked about. Each may
// be nil. They are called from the sender's goroutines and must not block.
//
// Warning codes are unique within one sender; who has several puts the
// upstream's name into the code.
type Hooks struct {
	Raise func(bridge.Warning)                   // a warning begins or changes
	Clear func(code string)                      // it is over; also called when it never began
	Drop  func(reason string, m *bridge.Message) // a message from the cloud was dropped

	// Carried tells of bytes that a connection has read or written, TLS included.
	// It is called for each piece of them.
	Carried func(bytes int)

	// Connecting tells of a CONNECT that is about to be written.
	Connecting func(clientID string)

	// Opened tells of a connection whose CONNECT was answered with success.
	// What it returns is told the rest.
	Opened func(clientID string) Connection
}

// Connection is told what a connection costs besides its messages. Its methods
// must not block.
type Connection interface {
	// Subscribing tells of one SUBSCRIBE packet that is about to be sent; answered is
	// called when it is, and not when the connection ends before.
	Subscribing(filters []string, user []bridge.UserProperty) (answered func())
	Closed() // it has ended; called once, last
}

// Open calls Opened; the result is never nil.
func (h Hooks) Open(clientID string) Connection {
	if h.Opened != nil {
		return h.Opened(clientID)
	}
	return uncounted{}
}

// Hello calls Connecting.
func (h Hooks) Hello(clientID string) {
	if h.Connecting != nil {
		h.Connecting(clientID)
	}
}

type uncounted struct{}

func (uncounted) Subscribing([]string, []bridge.UserProperty) func() { return func() {} }
func (uncounted) Closed()                                            {}

// Warn calls Raise.
func (h Hooks) Warn(w bridge.Warning) {
	if h.Raise != nil {
		h.Raise(w)
	}
}

// Over calls Clear.
func (h Hooks) Over(code string) {
	if h.Clear != nil {
		h.Clear(code)
	}
}

// Dropped calls Drop.
func (h Hooks) Dropped(reason string, m *bridge.Message) {
	if h.Drop != nil {
		h.Drop(reason, m)
	}
}

// Status is how a connection to an upstream is now.
type Status struct {
	Up       bool
	Idle     bool      // it is not up because there is nothing to send
	Since    time.Time // of Up, or of being down
	Connects int64     // links that came up since the start
	Err      error     // why it is down; nil while up and before the first attempt
	Pace     Pace      // what it may send

	Way  string      // the endpoint of the way in use, while up
	Ways []WayStatus // all ways, the best first, where there are several
}
