package conformance

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// caseDesk are the devices of a case: what they said, how it was acknowledged, and
// what they heard.
type caseDesk struct {
	t       *testing.T
	c       *fileCase
	at      func() *gate                // the one that runs now
	own     func(id string) []string    // what a device subscribes to without being told
	devices map[string]*recorder        // the connection of each
	gone    map[string][]*recorder      // earlier connections of them
	asked   map[string]map[string]byte  // what steps have had them subscribe to, with its QoS
	acks    map[int]map[string][]uint16 // by step and kind of packet, with its codes
	present map[int]bool                // by step, whether a session was there
}

func newCaseDesk(t *testing.T, c *fileCase, at func() *gate, own func(string) []string) *caseDesk {
	return &caseDesk{
		t: t, c: c, at: at, own: own, devices: map[string]*recorder{}, gone: map[string][]*recorder{},
		asked: map[string]map[string]byte{}, acks: map[int]map[string][]uint16{}, present: map[int]bool{},
	}
}

// attend connects those of whom only an expectation speaks, before anything happens:
// who comes afterwards hears nothing anyway. One whom no step has subscribe tries to
// hear what it is not to hear.
func (d *caseDesk) attend() {
	d.t.Helper()
	for _, e := range d.c.Expect {
		id := unquoted(e["client"])
		if id == "" || d.c.firstOf(id) == "connect" || d.c.firstOf(id) == "disconnect" {
			continue
		}
		r := d.client(id)
		if !d.c.subscribes(id) {
			for _, topic := range texts(e["no_message"]) {
				r.ask(subscribing(1, topic))
			}
		}
	}
}

// firstOf is the kind of the first step of a client.
func (c *fileCase) firstOf(id string) string {
	for n, s := range c.Steps {
		if c.clientOf(n) == id {
			return kindOf(s)
		}
	}
	return ""
}

// subscribes reports whether a step has that client subscribe.
func (c *fileCase) subscribes(id string) bool {
	for n, s := range c.Steps {
		if s["subscribe"] != nil && c.clientOf(n) == id {
			return true
		}
	}
	return false
}

// clientOf is the client of a step. Who connects or goes may be its value.
func (c *fileCase) clientOf(n int) string {
	s := c.Steps[n]
	for _, kind := range []string{"connect", "disconnect"} {
		var more struct {
			Client string `json:"client"`
		}
		if _ = json.Unmarshal(s[kind], &more); more.Client != "" {
			return more.Client
		}
		if text := unquoted(s[kind]); s["client"] == nil && text != "" && !slices.Contains(farewells, text) {
			return text
		}
	}
	return unquoted(s["client"])
}

// ask sends a packet, and waits until what it is answered with has come: false when
// the connection has ended meanwhile.
func (r *recorder) ask(pk packets.Packet) bool {
	r.tb.Helper()
	if _, err := r.Conn.Write(r.encode(pk)); err != nil {
		<-r.ended
		return false
	}
	r.settled()
	return !r.over()
}

func (r *recorder) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// client finds the device of a step. One whose connection a jump of the clock, a
// restart or a refusal has ended comes again, and subscribes to the same.
func (d *caseDesk) client(id string) *recorder {
	d.t.Helper()
	if r := d.devices[id]; r != nil && !r.over() {
		return r
	}
	r, code := d.join(id, joining{Clean: true})
	if code != 0 {
		d.t.Fatalf("%q is refused: CONNACK %#x", id, code)
	}
	for filter, qos := range d.asked[id] {
		r.ask(subscribing(qos, filter))
	}
	return r
}

// joining is how a device connects.
type joining struct {
	Clean    bool            `json:"clean_start"`
	Expiry   *uint32         `json:"session_expiry"`
	Proto    byte            `json:"client_proto"`
	Most     uint32          `json:"max_packet_size"`
	Keep     *uint16         `json:"keep_alive"`
	Will     json.RawMessage `json:"will"`
	Client   string          `json:"client"` // see clientOf
	Session3 *bool           `json:"clean_session"`
}

// joined reads how a step connects: true, a client's id, or an object.
func joined(t *testing.T, raw json.RawMessage) joining {
	t.Helper()
	j := joining{Clean: true}
	if len(raw) == 0 || raw[0] != '{' {
		return j
	}
	j = must[joining](t, raw)
	if j.Session3 != nil {
		j.Clean = *j.Session3
	}
	return j
}

// join connects a device; an earlier connection of it is taken over.
func (d *caseDesk) join(id string, how joining) (r *recorder, code byte) {
	d.t.Helper()
	socket := d.at().dial(cmp.Or(how.Proto, d.c.Proto, 5))
	ack := socket.connect(id, func(pk *packets.Packet) {
		pk.Connect.Clean = how.Clean
		if how.Expiry != nil {
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = *how.Expiry, true
		}
		pk.Properties.MaximumPacketSize = how.Most
		if how.Keep != nil {
			pk.Connect.Keepalive = *how.Keep
		}
		if how.Will != nil {
			w := must[map[string]json.RawMessage](d.t, how.Will)
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, unquoted(w["topic"]), payload(d.t, w)
			pk.Connect.WillQos, pk.Connect.WillRetain = byte(number(w["qos"])), string(w["retain"]) == "true"
		}
	})
	if ack.ReasonCode != 0 {
		return nil, ack.ReasonCode
	}
	r = record(socket)
	r.present = ack.SessionPresent
	for _, filter := range d.own(id) {
		if r.ask(subscribing(1, filter)); r.granted() != 1 {
			d.t.Fatalf("%s may not hear %s: %#x", id, filter, r.granted())
		}
	}
	if old := d.devices[id]; old != nil {
		<-old.ended
		d.gone[id] = append(d.gone[id], old)
	}
	d.devices[id] = r
	return r, 0
}

// farewells are the ways to go; with what comes after drop no DISCONNECT is sent.
var farewells = []string{"clean", "normal", "graceful", "drop", "abrupt", "cut", "kill"}

// leave ends a device's connection.
func (d *caseDesk) leave(id string, raw json.RawMessage) {
	d.t.Helper()
	clean := true
	switch {
	case len(raw) > 0 && raw[0] == '{':
		how := must[struct {
			Clean  *bool  `json:"clean"`
			Abrupt bool   `json:"abrupt"`
			Client string `json:"client"`
		}](d.t, raw)
		clean = !how.Abrupt && (how.Clean == nil || *how.Clean)
	case unquoted(raw) != "" && unquoted(raw) != id:
		at := slices.Index(farewells, unquoted(raw))
		if at < 0 {
			d.t.Fatalf("to disconnect %s is not known", raw)
		}
		clean = at < slices.Index(farewells, "drop")
	}
	r := d.devices[id]
	if r == nil {
		r = d.client(id)
	}
	if clean && !r.over() {
		r.goodbye()
	}
	_ = r.Close()
	<-r.ended
	d.at().absent(id)
}

// step carries out what is the same in both protocols; it returns false for
// anything else.
func (d *caseDesk) step(n int, s map[string]json.RawMessage) bool {
	d.t.Helper()
	id := d.c.clientOf(n)
	switch kindOf(s) {
	case "subscribe":
		d.subscribe(n, id, s)
	case "unsubscribe":
		r := d.client(id)
		r.ask(unsubscribing(texts(s["unsubscribe"])...))
		for _, filter := range texts(s["unsubscribe"]) {
			delete(d.asked[id], filter)
		}
	case "connect":
		how := joined(d.t, s["connect"])
		if how.Clean {
			delete(d.asked, id)
		}
		r, code := d.join(id, how)
		d.acks[n] = map[string][]uint16{"connack_rc": {uint16(code)}}
		d.present[n] = r != nil && r.present
	case "disconnect":
		d.leave(id, s["disconnect"])
	default:
		return false
	}
	return true
}

// subscribe has a device subscribe: to one filter, to several in one packet, or to
// each with its own QoS.
func (d *caseDesk) subscribe(n int, id string, s map[string]json.RawMessage) {
	d.t.Helper()
	qos := byte(1)
	if s["qos"] != nil {
		qos = must[byte](d.t, s["qos"])
	}
	pk := subscribing(qos, texts(s["subscribe"])...)
	for i, f := range subscriptions(s["subscribe"]) {
		if f.QoS != nil {
			pk.Filters[i].Qos = *f.QoS
		}
	}
	r := d.client(id)
	r.forget(0)
	r.ask(pk)
	d.acks[n] = map[string][]uint16{}
	if codes := r.subacked(); len(codes) > 0 { // a refusal may have ended the connection
		d.acks[n]["suback_rc"] = codes
	}
	if d.asked[id] == nil {
		d.asked[id] = map[string]byte{}
	}
	for i, code := range d.acks[n]["suback_rc"] {
		if code <= 2 && i < len(pk.Filters) {
			d.asked[id][pk.Filters[i].Filter] = pk.Filters[i].Qos
		}
	}
}

// wanted is one filter of a step that subscribes.
type wanted struct {
	Filter string `json:"filter"`
	Topic  string `json:"topic"`
	QoS    *byte  `json:"qos"`
}

// subscriptions reads a filter, a list of them, or objects with a QoS each.
func subscriptions(raw json.RawMessage) (out []wanted) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	for _, one := range list {
		w := wanted{Filter: unquoted(one)}
		if w.Filter == "" && strict(one, &w) != nil {
			return nil
		}
		w.Filter = cmp.Or(w.Filter, w.Topic)
		out = append(out, w)
	}
	return out
}

// texts reads a text or a list of them.
func texts(raw json.RawMessage) (out []string) {
	for _, s := range subscriptions(raw) {
		out = append(out, s.Filter)
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// publish notes how a PUBLISH was acknowledged, or that its connection ended instead.
func (d *caseDesk) publish(n int, r *recorder, s map[string]json.RawMessage) {
	d.t.Helper()
	pk := d.c.packet(d.t, n, s)
	d.acks[n] = map[string][]uint16{}
	r.forget(pk.PacketID)
	if pk.FixedHeader.Qos == 0 {
		r.ask(pk)
		return
	}
	if _, err := r.Conn.Write(r.encode(pk)); err != nil {
		<-r.ended // where the acknowledgement fails, so does the case
	}
	ack, there := r.ackedOrOver(pk.PacketID)
	if !there {
		return
	}
	kind := map[byte]string{packets.Puback: "puback_rc", packets.Pubrec: "pubrec_rc"}[ack.FixedHeader.Type]
	d.acks[n][kind] = []uint16{uint16(ack.ReasonCode)}
	if kind == "pubrec_rc" {
		r.ask(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: pk.PacketID})
	}
}

// packetOf is the packet id of a step, unless it says which (F36: the same again).
func packetOf(n int) uint16 { return uint16(n + 1) }

func (c *fileCase) packetOf(n int) uint16 {
	if id := number(c.Steps[n]["packet_id"]); id > 0 {
		return uint16(id)
	}
	return packetOf(n)
}

// payload is what a step publishes.
func payload(t *testing.T, s map[string]json.RawMessage) []byte {
	t.Helper()
	if raw, ok := s["payload_json"]; ok {
		return raw
	}
	if raw, ok := s["payload"]; ok {
		return []byte(must[string](t, raw))
	}
	b, err := base64.StdEncoding.DecodeString(unquoted(s["payload_b64"]))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// packet is the PUBLISH of a step. One of an upload that names no QoS has 1, with
// which alone uploads work.
func (c *fileCase) packet(t *testing.T, n int, s map[string]json.RawMessage) packets.Packet {
	t.Helper()
	qos := byte(number(s["qos"]))
	if s["qos"] == nil && c.Protocol == "emqx" {
		qos = 1
	}
	pk := publish(c.packetOf(n), unquoted(s["publish"]), string(payload(t, s)), func(pk *packets.Packet) {
		pk.FixedHeader.Qos, pk.FixedHeader.Retain, pk.FixedHeader.Dup = qos, string(s["retain"]) == "true", string(s["dup"]) == "true"
		pk.Properties.ResponseTopic, pk.Properties.CorrelationData = unquoted(s["response_topic"]), []byte(unquoted(s["correlation_data"]))
	})
	if qos == 0 {
		pk.PacketID = 0
	}
	return pk
}

// connections are those of a client, the earlier ones first.
func (d *caseDesk) connections(id string) []*recorder {
	all := slices.Clone(d.gone[id])
	if r := d.devices[id]; r != nil {
		all = append(all, r)
	}
	return all
}

// ids are the clients that have come, in order.
func (d *caseDesk) ids() []string { return slices.Sorted(maps.Keys(d.devices)) }
