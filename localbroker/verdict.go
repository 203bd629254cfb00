package localbroker

import (
	"errors"

	"github.com/ebbgate/ebbgate/bridge"
)

// action is what happens to a PUBLISH and its connection.
type action byte

const (
	actHold       action = iota // keep it, do not read the socket, try again
	actAccept                   // PUBACK or PUBREC success; retain and fan out
	actAck                      // PUBACK with the verdict's code
	actRepeat                   // PUBREC success; it was accepted before
	actPretend                  // PUBACK success, or nothing for QoS 0; dropped and counted
	actSilence                  // no answer, dropped and counted
	actDisconnect               // v5: DISCONNECT with the code; v3: close
)

// verdict is the answer to one PUBLISH.
type verdict struct {
	action action
	code   byte   // MQTT 5 reason code of actAck and actDisconnect
	after  action // of actHold, when the hold timed out
}

// refusal is an answer that no Kind stands for: the broker's own rules.
type refusal struct {
	reason string // drop log
	code   byte   // v5 PUBACK
	acked  bool   // 3.1.1 is acknowledged
}

func (r *refusal) Error() string { return r.reason }

// The broker's own refusals.
var (
	errIDInUse      = &refusal{reason: "packet-id-in-use", code: 0x91}     // B87, B138
	errRate         = &refusal{reason: "publish-rate", code: 0x97}         // B90, B91
	errAccountRate  = &refusal{reason: "account-publish-rate", code: 0x97} // Q20
	errRetainedRate = &refusal{reason: "retained-rate", code: 0x97}        // B155
	errRetainedFull = &refusal{reason: "retained-full", code: 0x97}        // B154
	errQoS2         = &refusal{reason: "qos2", code: 0x9B}                 // B75
)

// errRepeated marks a QoS 2 PUBLISH that was accepted before.
var errRepeated = errors.New("accepted before")

// judge is the table of verdicts: what a giver sees for an outcome of the walk,
// by protocol version, QoS and the listener's settings. It is pure. Only a nil
// error accepts; what it does not know it holds.
func judge(err error, version, qos byte, p *profile, o *ListenerOptions) verdict {
	if err == nil {
		return verdict{action: actAccept}
	}
	if errors.Is(err, errRepeated) {
		return verdict{action: actRepeat}
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		switch {
		case qos > 0 && version == 5:
			return verdict{action: actAck, code: r.code}
		case qos > 0 && r.acked:
			return verdict{action: actPretend}
		}
		return verdict{action: actSilence}
	}
	kind := bridge.KindOf(err)
	if qos == 0 {
		return judgeQoS0(kind, p)
	}
	v5 := version == 5
	switch kind {
	case bridge.NotAuthorized:
		switch {
		case v5 && o.Denied.MQTT5 == deniedAck:
			return verdict{action: actAck, code: 0x87} // B85
		case !v5 && o.Denied.MQTT3 == deniedAck:
			return verdict{action: actPretend}
		}
		return verdict{action: actDisconnect, code: 0x87} // B86
	case bridge.TopicInvalid:
		switch {
		case v5 && o.Switches.RefusedTopicV5 == switchAck:
			return verdict{action: actAck, code: 0x90} // B80
		case !v5 && o.Switches.RefusedTopicV3 == switchAck:
			return verdict{action: actPretend}
		}
		return verdict{action: actDisconnect, code: 0x90} // B81
	case bridge.PayloadInvalid:
		switch {
		case v5 && p.silent:
			return verdict{action: actAck, code: 0x80} // AWS has no 0x99 (§1.13)
		case v5:
			return verdict{action: actAck, code: 0x99}
		}
		return verdict{action: actPretend}
	case bridge.TooLarge:
		return verdict{action: actDisconnect, code: p.tooLargeCode} // B84
	default: // Full, Unavailable, Internal and whatever comes later
		if v5 {
			return verdict{action: actHold, after: actAck, code: 0x97}
		}
		return verdict{action: actHold, after: actDisconnect, code: 0x97}
	}
}

// judgeQoS0 is the column of QoS 0, where nothing can be said but goodbye.
func judgeQoS0(kind bridge.Kind, p *profile) verdict {
	switch kind {
	case bridge.NotAuthorized, bridge.TopicInvalid:
		if !p.aws {
			return verdict{action: actPretend}
		}
		code := byte(0x87)
		if kind == bridge.TopicInvalid {
			code = 0x90
		}
		return verdict{action: actDisconnect, code: code}
	case bridge.TooLarge:
		return verdict{action: actDisconnect, code: p.tooLargeCode}
	default:
		return verdict{action: actPretend}
	}
}

// timedOut is the answer when a hold has lasted too long.
func (v verdict) timedOut() verdict { return verdict{action: v.after, code: v.code} }
