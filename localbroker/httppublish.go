package localbroker

import (
	"net/http"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/rest"
)

// Publish implements rest.Caller: the message becomes an MQTT 5 PUBLISH and
// takes the walk of one (B198-B201). What cannot be stored now is not held, as
// a device's message is: HTTP has a word for "later", and a publisher that has
// given up waiting would send again what was stored in the end.
//
// It is retained and fanned out before the answer, not after it as a PUBACK is:
// who has the 200 finds the message where it reads.
func (c *httpClient) Publish(m *bridge.Message) error {
	b := c.broker
	who, may := c.who()
	if err := c.mayPublish(who, m); err != nil {
		return err
	}
	c.profile.clampExpiry(m)
	p := &parcel{broker: b, giver: who.Name(), msg: m, expires: b.expiry(m), away: b.forCloud(c.profile, m.Topic)}
	done := make(chan error, 1)
	b.ingest.Up(who, may, m, p.extend, func(err error) {
		p.settle(err)
		done <- err
	})
	err := <-done // however long: the outcome is not known before
	if err != nil {
		b.countPublish(err)
		switch bridge.KindOf(err) { // the walk has counted the others
		case bridge.NotAuthorized, bridge.TopicInvalid, bridge.PayloadInvalid, bridge.TooLarge:
		default:
			b.drops.CountError(err, who.Name(), m.Topic)
		}
		return err
	}
	if !b.handedOver(c.profile, who.Name(), m) {
		p.deliver(offer)
	}
	return nil
}

// mayPublish applies the broker's own rules. What it refuses has been counted.
func (c *httpClient) mayPublish(who *bridge.Principal, m *bridge.Message) error {
	err := c.broker.admitsFrom(c.profile, m)
	if err != nil {
		c.broker.drops.CountError(err, who.Name(), m.Topic)
		return err
	}
	var refused *refusal
	switch {
	case c.publishes != nil && !c.publishes.AllowN(c.broker.now(), 1):
		refused = errRate
	case m.Retain && len(m.Payload) > 0 && !c.broker.retained.fits(m):
		refused = errRetainedFull // B154
	default:
		refused = c.pacePublish(who, m)
	}
	if refused == nil {
		return nil
	}
	c.broker.drops.Count(refused.reason, who.Name(), m.Topic)
	return &rest.Refusal{Status: http.StatusTooManyRequests, Text: refused.reason}
}

// Retained implements rest.Caller (B160).
func (c *httpClient) Retained(topic string) (*rest.Retained, error) {
	if topic == "" || strings.ContainsAny(topic, "+#") {
		return nil, &rest.Refusal{Status: http.StatusBadRequest, Text: "that is no topic"}
	}
	q := bridge.Request{Action: bridge.ActionGetRetained, Name: topic}
	if err := c.ask(q); err != nil {
		return nil, err
	}
	if err := c.paced(q.Action, ""); err != nil {
		return nil, err
	}
	found, ok := c.broker.retained.find(topic)
	if !ok {
		return nil, &rest.Refusal{Status: http.StatusNotFound, Text: "there is no retained message on this topic"}
	}
	m := found.msg
	return &rest.Retained{Topic: m.Topic, Payload: m.Payload, Size: len(m.Payload), QoS: m.QoS, Modified: found.modified, User: m.User}, nil
}

// ListRetained implements rest.Caller (B161).
func (c *httpClient) ListRetained(after string, most int) ([]*rest.Retained, bool, error) {
	q := bridge.Request{Action: bridge.ActionListRetained}
	if err := c.ask(q); err != nil {
		return nil, false, err
	}
	if err := c.paced(q.Action, ""); err != nil {
		return nil, false, err
	}
	list, more := c.broker.retained.page(after, most)
	return list, more, nil
}
