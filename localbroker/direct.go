package localbroker

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/rest"
)

// directPatience is how long a direct message that nobody waits for may wait
// for its client's socket.
const directPatience = 5 * time.Second

// Direct implements rest.Caller: one message to one connected client, which
// needs no subscription. It is neither routed nor retained nor kept for later
// (B203).
func (c *httpClient) Direct(ctx context.Context, clientID string, m *bridge.Message, confirm time.Duration) error {
	if strings.HasPrefix(m.Topic, "$") {
		return &rest.Refusal{Status: http.StatusBadRequest, Text: "a direct message has no topic of the broker's own"}
	}
	if err := c.profile.admits(m); err != nil {
		c.broker.drops.CountError(err, c.name(), m.Topic)
		return err
	}
	if err := c.about(bridge.Request{Action: bridge.ActionSendDirect, Name: clientID, Topic: m.Topic}); err != nil {
		return err
	}
	s := c.broker.sessions.find(clientID)
	if s == nil {
		return noClient("the client is not connected")
	}
	wait := &directWait{result: make(chan error, 1), d: newDelivery(m, m.QoS)}
	wait.d.await = wait
	wait.d.expires = c.broker.age() + cmp.Or(confirm, directPatience) // what was given up on is not sent later
	if err := s.direct(wait.d); err != nil {
		return err
	}
	if confirm == 0 {
		return nil
	}
	timeout := time.NewTimer(confirm)
	defer timeout.Stop()
	select {
	case err := <-wait.result:
		return err
	case <-timeout.C:
		return &rest.Refusal{Status: http.StatusGatewayTimeout, Text: "the client has not acknowledged the message in time"}
	case <-ctx.Done(): // nobody reads the answer
		return ctx.Err()
	}
}

// direct delivers d now or not at all.
func (s *session) direct(d *delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.client; s.ended || c == nil || !c.open.Load() {
		if !s.ended && c == nil {
			return noClient("the client is not connected, but it has an active persistent session")
		}
		return noClient("the client is not connected")
	}
	switch s.offerLocked(d) {
	case takenQueued:
		return nil
	case takenFull:
		return &rest.Refusal{Status: http.StatusTooManyRequests, Text: "the client takes no more messages now"}
	default:
		return errReceiver
	}
}

var errReceiver = &rest.Refusal{Status: http.StatusForbidden, Text: "the client may not receive messages on this topic"}

// directWait waits for what becomes of a direct message. It is an awaiter.
type directWait struct {
	d      *delivery
	result chan error
}

// settle implements awaiter.
func (w *directWait) settle(r bridge.Result) {
	switch {
	case r == bridge.ResultAcked && w.d.qos == 0: // nobody can confirm it
	case r == bridge.ResultAcked && w.d.id == 0: // never sent: the policy has changed
		w.result <- errReceiver
	case r == bridge.ResultAcked:
		w.result <- nil
	case r == bridge.ResultRefused:
		w.result <- &rest.Refusal{Status: http.StatusRequestEntityTooLarge, Text: "the message is larger than the client takes"}
	case r == bridge.ResultRetry:
		w.result <- &rest.Refusal{Status: http.StatusGatewayTimeout, Text: "the message could not be sent in time"}
	default:
		w.result <- noClient("the client has disconnected")
	}
}
