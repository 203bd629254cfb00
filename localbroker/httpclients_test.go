package localbroker

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestB71_DeleteConnection: the client is told 0x98, or closed; its session and
// its will are as the request says.
func TestB71_DeleteConnection(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for _, x := range []struct {
			query   string
			session bool // stays
			will    bool // is published
		}{
			{"", true, true},
			{"?cleanSession=false&preventWillMessage=false", true, true},
			{"?cleanSession=true", false, true},
			{"?preventWillMessage=TRUE", true, false},
			{"?cleanSession=true&preventWillMessage=true", false, false},
		} {
			h, ca := webHouse(t, profileAWSEdge)
			d := dial(t, h.addr(), version)
			d.connect("d", persistent(600), func(pk *packets.Packet) {
				pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "will", []byte("gone")
			})
			h.caller(ca).do(http.MethodDelete, "/connections/d"+x.query, nil).ok(t)
			if s := h.sessions.find("d"); (s != nil) != x.session || s != nil && s.current() != nil {
				t.Errorf("%s: session %v when the answer is there", x.query, s)
			}
			if version == 5 {
				d.expectGoodbye(0x98)
			} else {
				d.expectEnd()
			}
			if published := slices.Contains(h.walk.topics(), "will"); published != x.will {
				t.Errorf("%s: will %v", x.query, published)
			}
			if why := receive(t, "the callback", h.ended); why != "kicked" {
				t.Errorf("reason %q", why)
			}
		}
	})
}

// TestB71_NotConnected: there is nothing to disconnect, but an absent client's
// session can be ended.
func TestB71_NotConnected(t *testing.T) {
	h, ca := webHouse(t, profileAWSEdge)
	c := h.caller(ca)
	c.do(http.MethodDelete, "/connections/d?cleanSession=true", nil).refused(t, http.StatusNotFound, "ResourceNotFoundException")
	d := dial(t, h.addr(), 5)
	d.connect("d", persistent(600))
	d.subscribe(1, "t")
	h.leave(d, "d")
	c.do(http.MethodDelete, "/connections/d", nil).refused(t, http.StatusNotFound, "ResourceNotFoundException")
	c.do(http.MethodDelete, "/connections/d?cleanSession=true", nil).ok(t)
	if h.sessions.find("d") != nil || len(h.index.match("t", nil)) > 0 {
		t.Error("the session is still there")
	}
	h.rules.deny("iot:DeleteConnection e")
	h.join(5, "e")
	c.do(http.MethodDelete, "/connections/e", nil).refused(t, http.StatusForbidden, "ForbiddenException")
	if h.sessions.find("e").current() == nil || h.dropped("request-denied") != 1 {
		t.Error("a denied request ended a connection, or was not counted")
	}
}

// TestB71_Durable: the answer waits until the session has ended on the disk too,
// of a present client and of an absent one.
func TestB71_Durable(t *testing.T) {
	for _, present := range []bool{true, false} {
		disk := newDisk(&clock{})
		h, ca := webHouse(t, profileAWSEdge, func(d *Deps) { d.Shelf = disk })
		d := dial(t, h.addr(), 5)
		d.connect("d", persistent(600))
		if !present {
			h.leave(d, "d")
		}
		c := h.caller(ca)
		c.do(http.MethodGet, "/connections/d", nil).ok(t) // the commits before are done
		disk.hold()
		answered := make(chan reply, 1)
		go func() {
			r, err := c.try(http.MethodDelete, "/connections/d?cleanSession=true", nil)
			if err != nil {
				t.Error(err)
			}
			answered <- r
		}()
		eventually(t, "the session has ended", func() bool { return h.sessions.find("d") == nil })
		for range 3 {
			c.do(http.MethodGet, "/retainedMessage", nil).ok(t)
		}
		if len(answered) > 0 {
			t.Error("answered before the end is durable")
		}
		disk.release()
		receive(t, "the answer", answered).ok(t)
	}
}

// TestB71_DelayedWill: in profile mqtt an absent client's will waits; who ends
// the session decides about it too.
func TestB71_DelayedWill(t *testing.T) {
	for query, published := range map[string]bool{"?cleanSession=true": true, "?cleanSession=true&preventWillMessage=true": false} {
		h, ca := webHouse(t, profileMQTT)
		d := dial(t, h.addr(), 5)
		d.connect("d", persistent(600), func(pk *packets.Packet) {
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "will", []byte("gone")
			pk.Connect.WillProperties.WillDelayInterval = 300
		})
		h.leave(d, "d")
		h.caller(ca).do(http.MethodDelete, "/connections/d"+query, nil).ok(t)
		if published {
			eventually(t, "the will", func() bool { return slices.Contains(h.walk.topics(), "will") })
		} else if slices.Contains(h.walk.topics(), "will") {
			t.Error("the will is published")
		}
	}
}

// direct sends one.
func (c *caller) direct(query, payload string, more ...string) reply {
	c.tb.Helper()
	return c.do(http.MethodPost, "/connections/d/messages?"+query, strings.NewReader(payload), more...)
}

// later sends one and does not wait for the answer.
func (c *caller) later(query string) <-chan reply {
	answered := make(chan reply, 1)
	go func() {
		r, err := c.try(http.MethodPost, "/connections/d/messages?"+query, strings.NewReader("x"))
		if err != nil {
			c.tb.Error(err)
		}
		answered <- r
	}()
	return answered
}

// TestB203_DirectMessage: one client gets the message on a topic that it has
// not subscribed to, at QoS 0 or confirmed at QoS 1; nobody else does, and
// nothing is kept of it.
func TestB203_DirectMessage(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		h, ca := webHouse(t, profileAWS)
		d := h.join(version, "d")
		other := h.join(5, "other")
		other.subscribe(1, "cmd/#")
		c := h.caller(ca)
		r := c.direct("topic=cmd%2Freboot&contentType=text", "now", userHeader, encoded(`[{"k":"v"}]`), correlationHeader, encoded("7")).ok(t)
		if r.json["message"] != "OK" || r.json["traceId"] == "" {
			t.Errorf("answer %s", r.body)
		}
		pk := d.expect(packets.Publish)
		if pk.TopicName != "cmd/reboot" || string(pk.Payload) != "now" || pk.FixedHeader.Qos != 0 || pk.FixedHeader.Retain {
			t.Errorf("got %+v", pk)
		}
		if version == 5 && (pk.Properties.ContentType != "text" || len(pk.Properties.User) != 1 || string(pk.Properties.CorrelationData) != "7") {
			t.Errorf("properties %+v", pk.Properties)
		}
		answered := c.later("topic=cmd/reboot&confirmation=true&timeout=15")
		pk = d.expect(packets.Publish)
		if pk.FixedHeader.Qos != 1 {
			t.Errorf("QoS %d", pk.FixedHeader.Qos)
		}
		select {
		case r := <-answered:
			t.Fatalf("answered %d before the PUBACK", r.status)
		default:
		}
		d.puback(pk.PacketID)
		receive(t, "the answer", answered).ok(t)
		other.expectNothing()
		if topics := h.walk.topics(); len(topics) > 0 {
			t.Errorf("%q took the walk", topics)
		}
	})
}

// TestB203_Errors: who cannot be reached, or not now, or not with that.
func TestB203_Errors(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	c := h.caller(ca)
	c.direct("topic=t", "x").refused(t, http.StatusNotFound, "ResourceNotFoundException")
	d := dial(t, h.addr(), 5)
	d.connect("d", persistent(600))
	h.leave(d, "d")
	r := c.direct("topic=t", "x")
	r.refused(t, http.StatusNotFound, "ResourceNotFoundException")
	if text, _ := r.json["message"].(string); !strings.Contains(text, "persistent session") {
		t.Errorf("body %s", r.body)
	}
	d = dial(t, h.addr(), 5)
	d.connect("d", persistent(600), func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 1000 })
	d.expectNothing() // was not queued
	for _, bad := range []string{"", "topic=", "topic=a/%23", "topic=$aws/x", "topic=$x", "topic=t&confirmation=yes", "topic=t&confirmation=true&timeout=16", "topic=t&confirmation=true&timeout=0", "topic=t&topic=u", "topic=%ff"} {
		c.direct(bad, "x").refused(t, http.StatusBadRequest, "InvalidRequestException")
	}
	c.direct("topic=t&timeout=99", "x").ok(t) // without confirmation it counts for nothing
	d.expect(packets.Publish)
	c.direct("topic=t", strings.Repeat("x", 128<<10+1)).refused(t, http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException")
	c.direct("topic=t&confirmation=true", strings.Repeat("x", 2000)).refused(t, http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException") // B41
	h.rules.deny("iot:SendDirectMessage d")
	c.direct("topic=t", "x").refused(t, http.StatusForbidden, "ForbiddenException")
	h.rules.deny("d: iot:Receive t")
	c.direct("topic=t", "x").refused(t, http.StatusForbidden, "ForbiddenException")
	h.rules.deny()
	c.direct("topic=t&confirmation=true&timeout=1", "x").refused(t, http.StatusGatewayTimeout, "GatewayTimeoutException")
	d.expect(packets.Publish)
}

// TestB203_Leaves: a client that goes before it has acknowledged ends the wait,
// and finds no message when it comes back.
func TestB203_Leaves(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	c := h.caller(ca)
	d := dial(t, h.addr(), 5)
	d.connect("d", persistent(600))
	answered := c.later("topic=t&confirmation=true&timeout=15")
	d.expect(packets.Publish)
	h.leave(d, "d")
	receive(t, "the answer", answered).refused(t, http.StatusNotFound, "ResourceNotFoundException")
	d = dial(t, h.addr(), 5)
	d.connect("d", persistent(600))
	d.expectNothing()
}

// TestB203_Full: a client whose queue is full gets no more.
func TestB203_Full(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	o := h.listeners[0].settings.Load().ListenerOptions
	o.Limits.QueueMessages = 1
	if err := h.Reload(Options{Listeners: []ListenerOptions{o, h.listeners[1].settings.Load().ListenerOptions}}); err != nil {
		t.Fatal(err)
	}
	d := h.join(5, "d", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	c := h.caller(ca)
	answered := c.later("topic=t&confirmation=true&timeout=15")
	pk := d.expect(packets.Publish)
	c.direct("topic=t", "x").refused(t, http.StatusTooManyRequests, "ThrottlingException")
	d.puback(pk.PacketID)
	receive(t, "the answer", answered).ok(t)
}

// TestDirectIsNeverLate: what was given up on while it waited for its turn is
// not sent later.
func TestDirectIsNeverLate(t *testing.T) {
	h, ca := webHouse(t, profileAWS)
	d := h.join(5, "d", func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	c := h.caller(ca)
	first := c.later("topic=first&confirmation=true&timeout=15")
	pk := d.expect(packets.Publish)
	c.direct("topic=second&confirmation=true&timeout=1", "x").refused(t, http.StatusGatewayTimeout, "GatewayTimeoutException")
	h.clock.advance(time.Second)
	d.puback(pk.PacketID)
	receive(t, "the answer", first).ok(t)
	d.expectNothing()
	if h.dropped("expired") != 1 {
		t.Errorf("drop log %+v", h.drops.All())
	}
}
