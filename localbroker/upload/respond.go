package upload

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// responseVersion is the version of the response's form.
const responseVersion = "0.1"

// response is what a device reads about a command.
type response struct {
	Version     string `json:"vsn"`
	Topic       string `json:"topic"`
	PacketID    uint16 `json:"packet_id"`
	Code        int    `json:"reason_code"` // 0 or 128
	Description string `json:"reason_description"`
}

// mayRespond checks the topic that a device wants its response on. It must be
// allowed to publish there itself, or it would speak with the gateway's voice;
// of the reserved topics it may name its own.
func mayRespond(r *Request) error {
	topic := r.Message.ResponseTopic
	switch {
	case topic == "" || topic == rootResponse+r.ClientID:
		return nil
	case topic[0] == '$':
		return bridge.Errorf(bridge.OpPublish, bridge.NotAuthorized, "the response topic %s is reserved", topic)
	}
	if d := r.May.Decide(bridge.Request{Action: bridge.ActionPublish, Name: topic}); !d.Allowed {
		return bridge.Errorf(bridge.OpPublish, bridge.NotAuthorized, "the response topic %s: %s", topic, d.Reason)
	}
	return nil
}

// answerer answers a command once: its PUBACK, and then the response.
func (s *Service) answerer(r Request, done func(error)) func(error) {
	tell := s.response(r)
	return func(err error) {
		if err == nil {
			r.After(func() { tell(nil) })
			done(nil)
			return
		}
		f := faultOf(err)
		s.note(r.ClientID, f, err)
		r.After(func() { tell(f) })
		done(s.coded(f))
	}
}

// deferred acknowledges a fin at once; its answer is the response alone.
func (s *Service) deferred(r Request, done func(error)) func(error) {
	tell, left := s.response(r), make(chan struct{})
	r.After(func() { close(left) })
	done(nil)
	return func(err error) {
		f := (*Fault)(nil)
		if err != nil {
			f = faultOf(err)
			s.note(r.ClientID, f, err)
			s.deps.Drops.Count("file-"+f.Word, r.ClientID, r.Message.Topic)
		}
		go func() { // who answers must not wait
			<-left
			tell(f)
		}()
	}
}

// coded is the fault with the code that the options say.
func (s *Service) coded(f *Fault) error {
	if s.opts.StrictCodes && f.Code != 0x80 {
		return &Fault{f.Word, 0x80}
	}
	return f
}

// note logs what nobody outside can see: an error of ours.
func (s *Service) note(client string, f *Fault, err error) {
	if _, said := errors.AsType[*Fault](err); !said && f != errNoSpace {
		s.deps.Log.Warn("a file transfer failed", "client", client, "error", err)
	}
}

// response makes the message of a command's outcome, nil for success.
func (s *Service) response(r Request) func(*Fault) {
	m := r.Message
	out := response{Version: responseVersion, Topic: strings.Clone(m.Topic), PacketID: r.PacketID}
	to := strings.Clone(m.ResponseTopic)
	if to == "" {
		to = rootResponse + r.ClientID
	}
	correlation := append([]byte(nil), m.CorrelationData...)
	return func(f *Fault) {
		if strings.ContainsAny(to, "+#") {
			return // of a client id with a wildcard: no topic is called that
		}
		out.Description = "success"
		if f != nil {
			out.Code, out.Description = 128, f.Word
		}
		payload, err := json.Marshal(out)
		if err != nil { // texts and numbers
			panic("upload: response: " + err.Error())
		}
		msg := &bridge.Message{Topic: to, Payload: payload, QoS: 1}
		if len(correlation) > 0 {
			msg.CorrelationData = correlation
		}
		s.deps.Tell(msg)
	}
}
