package localbroker

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// resendAWS is how long the AWS profiles wait before a 3.1.1 device gets an
// unacknowledged delivery again. AWS says that it sends them again, not when.
const resendAWS = time.Minute

// retries are the times of a connected device that does not acknowledge.
type retries struct {
	window time.Duration // after which a delivery is dropped (B110, B111)
	resend time.Duration // after which it is sent again; 0: never on this connection
}

func (c *client) retries() retries {
	if c.version == 5 { // [MQTT-4.4.0-1]
		return retries{window: c.profile.retry5}
	}
	r := retries{window: c.profile.retry3, resend: c.settings.ResendV3}
	if r.resend == 0 && c.profile.aws {
		r.resend = resendAWS
	}
	return r
}

// retryLocked drops what a connected device has not acknowledged within the
// window, and sends again what is due.
func (s *session) retryLocked(now time.Duration) {
	c := s.client
	if c == nil || len(s.out.flight) == 0 || !c.open.Load() {
		return
	}
	r := c.retries()
	dropped := false
	var due []*delivery
	for i := 0; i < len(s.out.flight); {
		d := s.out.flight[i]
		if d.qos < 2 && now-d.firstAt >= r.window { // what is begun with QoS 2 is ended so [MQTT-4.4.0-1]
			s.out.land(i)
			s.broker.drops.Missed("retry-window", s.id, d.topic())
			s.doneLocked(d, bridge.ResultRetry)
			dropped = true
			continue
		}
		if r.resend > 0 && now-d.sentAt >= r.resend {
			d.sentAt = now
			if !s.remindLocked(c, d) {
				due = append(due, d)
			}
		}
		i++
	}
	if dropped {
		s.pumpLocked()
	}
	if len(due) > 0 {
		s.resendLocked(c, due)
	}
}

// topic is the message's, as long as memory has it.
func (d *delivery) topic() string {
	if d.msg == nil {
		return ""
	}
	return d.msg.Topic
}

// resendLocked sends deliveries of the flight again. What is on the shelf is
// read there first, without the lock.
func (s *session) resendLocked(c *client, due []*delivery) {
	jobs := map[*backlog]*reading{}
	for _, d := range due {
		if d.msg != nil {
			s.againLocked(c, d, d)
			continue
		}
		k := s.keep
		if d.from != nil {
			k = d.from.keep
		}
		if jobs[k] == nil {
			jobs[k] = &reading{}
		}
		jobs[k].again = append(jobs[k].again, sent{ordinal: d.kept.ordinal})
	}
	for k, job := range jobs {
		go s.broker.guard(func() { s.resend(c, k, *job) })
	}
}

func (s *session) resend(c *client, k *backlog, job reading) {
	s.broker.reading <- struct{}{}
	found, _, err := k.fetch(job)
	<-s.broker.reading
	if err != nil {
		return // its time comes again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != c {
		return
	}
	for _, d := range found {
		if i := slices.IndexFunc(s.out.flight, func(f *delivery) bool { return f.kept == d.kept }); i >= 0 {
			s.againLocked(c, s.out.flight[i], d)
		}
	}
}

// againLocked writes a delivery of the flight again, with the message of whole;
// a socket without room waits for the next time (B112).
func (s *session) againLocked(c *client, d, whole *delivery) {
	var left time.Duration
	if d.expires != 0 {
		if left = d.expires - d.sentAt; left <= 0 {
			return
		}
	}
	if !c.wire.room() || !s.decided(whole) {
		return
	}
	copied := *d
	copied.msg = whole.msg
	packet, err := encodePublish(&copied, c.version, !s.profile.aws, uint32(left/time.Second))
	if err == nil {
		_ = c.wire.writeDelivery(packet, s.answers(&copied))
	}
}
