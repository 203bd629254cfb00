package bridge

import (
	"errors"
	"fmt"
)

// Kind says what an error means for the giver of a message. The zero Kind,
// Internal, holds: nothing is acknowledged and nothing dropped.
type Kind byte

// The kinds, in the order of design's table of verdicts.
const (
	Internal       Kind = iota // a fault of ours: hold
	NotAuthorized              // the policy says no
	TopicInvalid               // reserved, too long, too deep, not routable
	PayloadInvalid             // does not fit what the route expects
	Full                       // spool or quota: hold, then refuse
	TooLarge                   // above the packet or payload limit
	Unavailable                // closing, or not ready: hold
	Corrupt                    // damaged on disk
	Expired                    // time to live passed
)

var kindNames = [...]string{"internal", "not-authorized", "topic-invalid", "payload-invalid", "full", "too-large", "unavailable", "corrupt", "expired"}

// String is the kind's name in logs, metrics and the drop log.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind-%d", byte(k))
}

// Error is an error that someone decides on.
type Error struct {
	Op   string // what was tried: "append", "route"
	Kind Kind
	Err  error // cause; may be nil
}

// Error is "op: kind: cause".
func (e *Error) Error() string {
	s := e.Op + ": " + e.Kind.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf finds the kind of an error, Internal when it carries none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Errorf makes an *Error; format works as in fmt.Errorf.
func Errorf(op string, k Kind, format string, args ...any) *Error {
	return &Error{Op: op, Kind: k, Err: fmt.Errorf(format, args...)}
}

// ErrWouldWait is what [PromptLink.SendNow] fails with where it would wait.
var ErrWouldWait = errors.New("the link would have to wait")
