package bridge

import (
	"context"
	"fmt"
)

// Sender reaches one receiver of records: a cloud, a folder, the local broker.
type Sender interface {
	// Connect waits until a link is up, through every back-off, and returns
	// it. It fails only when ctx ends or when trying again is pointless (the
	// configuration itself is wrong).
	Connect(ctx context.Context) (Link, error)
}

// Link is one live connection of a Sender. Send and Flush are for one goroutine
// at a time.
type Link interface {
	// Window is how many sends may await their outcome: the receiver's
	// Receive Maximum, at most.
	Window() int

	// Send transmits d, waiting for the rate limits before it does. It may
	// gather what it is given for one write: whoever sends calls Flush before
	// waiting for anything else. The outcome then comes exactly once through
	// report, at once or from another goroutine, which report must not block;
	// when Send fails report is not called and nothing was transmitted in full.
	Send(ctx context.Context, d *Delivery, report func(Outcome)) error

	// Flush transmits what Send has gathered, without waiting.
	Flush()

	// Done is closed when the link is down; Err then says why.
	Done() <-chan struct{}
	Err() error

	// Close ends the link at once. Outstanding sends report ResultLost.
	Close() error
}

// PromptLink is a Link on which the goroutine that reports may send as well.
type PromptLink interface {
	Link
	// SendNow is Send for a goroutine that must not wait: it fails with
	// [ErrWouldWait], and has done nothing, where Send would.
	SendNow(d *Delivery, report func(Outcome)) error
}

// Delivery is one record on its way to one receiver.
type Delivery struct {
	*Stored
	Attempt   int    // 1 for the first transmission in this process
	Remaining uint32 // Message Expiry Interval still left in seconds; valid when HasExpiry
	Together  string // see Key; empty: the device
}

// Result is what became of a Delivery.
type Result byte

// The results. The zero Result is the one that loses nothing.
const (
	ResultLost    Result = iota // the link went down or the ack never came: send again
	ResultAcked                 // the receiver has it: release and meter
	ResultRetry                 // refused for now (quota, server busy): hold the device, send again
	ResultRefused               // refused for good for what it is (0x90, 0x95, 0x99): dead letter
	ResultDenied                // refused by the receiver's policy (0x87): what the device has in that queue waits
	ResultAbsent                // nobody there to take it: keep, try again when somebody is
)

// Outcome is a Result with what the bill and the log need.
type Outcome struct {
	Result
	Code   byte    // MQTT reason code, 0 when there is none
	Reason string  // reason string or error text
	Wire   int     // bytes of the packet on the wire, both directions, without TLS
	MQTT3  bool    // it went over MQTT 3.1.1, in which no property travels
	HTTP   bool    // it went over HTTP, which is metered in its own way
	Body   int     // bytes of the HTTP answer's body
	Via    string  // the upstream that took it in place of the one that it was for; empty: that one
	Before *Billed // not nil: a run before this one has sent it, which was billed so, and nothing else is known of it
	Proof  Proof   // of what was only written, at QoS 0: whether it arrived shows later; nil: the receiver has answered
	More   bool    // the next outcome follows without a wait: it need not be acted on before
}

// Proof shows later whether what was only written has arrived.
type Proof interface {
	// Then calls f once: with true when something was answered that was written later, and
	// with false when the connection has ended without. It may call it at once.
	Then(f func(arrived bool))
}

// said is what a refusal says, for a person.
func (o Outcome) said() string {
	if o.HTTP {
		return o.Reason
	}
	return fmt.Sprintf("0x%02X %s", o.Code, o.Reason)
}

// Meter adds what crossed to the batch that releases it.
type Meter interface {
	// Delivered meters an acknowledged delivery.
	Delivered(b *Batch, upstream string, s *Stored, o Outcome)
	// Uncertain meters a delivery that was sent and whose fate is unknown: the
	// cloud may have billed it, and will bill it again when it is resent. Of one
	// that an earlier process has sent, nothing of the outcome is known.
	Uncertain(b *Batch, upstream string, s *Stored, o Outcome)
	// Received meters a message that came down, with its acknowledgement.
	Received(b *Batch, upstream string, m *Message, wire int)
}

// PlaceMeter is a [Meter] that tells where an upstream is billed: it may be in another
// region or account than when a run that was killed has sent something.
type PlaceMeter interface {
	// Place is where and how an upstream is billed in this run.
	Place(upstream string) Billed
}

// Billed is where and how an upstream is billed in a run, as its [PlaceMeter] tells. The
// zero value stands as well for what nothing was written of.
type Billed struct {
	Place int    // a number for where
	How   string // in the meter's own words
}

// RefusalMeter is a [Meter] that wants to know as well what the receiver
// answered and did not take.
type RefusalMeter interface {
	// Refused meters a delivery that was refused, for now or for good.
	Refused(b *Batch, upstream string, s *Stored, o Outcome)
}
