package conformance

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// expectCodes compares how a step was acknowledged, or how a connection ended.
func (d *caseDesk) expectCodes(e map[string]json.RawMessage) {
	d.t.Helper()
	n := number(e["step"])
	for key, want := range e {
		switch key {
		case "puback_rc", "pubrec_rc", "suback_rc", "connack_rc":
			d.expectCode(n, key, [][]uint16{codes(d, want)})
		case "puback_rc_any":
			var all [][]uint16
			for _, one := range must[[]uint16](d.t, want) {
				all = append(all, []uint16{one})
			}
			d.expectCode(n, "puback_rc", all)
		case "session_present":
			if d.present[n] != must[bool](d.t, want) {
				d.t.Errorf("step %d: the session was there: %v", n, d.present[n])
			}
		case "disconnected":
			d.expectEnd(d.hears(e), must[bool](d.t, want))
		case "disconnect_rc":
			id := d.hears(e)
			d.expectEnd(id, true)
			for _, r := range d.connections(id) {
				if slices.Equal(r.goodbyes(), codes(d, want)) {
					return
				}
			}
			d.t.Errorf("%s was not disconnected with %s", id, want)
		}
	}
}

// codes reads a code, or one for each filter.
func codes(d *caseDesk, raw json.RawMessage) []uint16 {
	d.t.Helper()
	if strings.HasPrefix(string(raw), "[") {
		return must[[]uint16](d.t, raw)
	}
	return []uint16{must[uint16](d.t, raw)}
}

func (d *caseDesk) expectCode(n int, kind string, allowed [][]uint16) {
	d.t.Helper()
	got, there := d.acks[n][kind]
	if !there && kind == "puback_rc" && allowed[0][0] == 0x10 {
		got, there = d.acks[n]["pubrec_rc"] // some say PUBACK of any acknowledgement
	}
	switch {
	case !there:
		d.t.Errorf("step %d has no %s; it has %v, and its connection has ended: %v", n, kind, d.acks[n], d.ended(d.c.clientOf(n)))
	case d.c.Proto == 4 && (kind == "puback_rc" || kind == "pubrec_rc"):
		// without a code: the response tells
	case !slices.ContainsFunc(allowed, func(a []uint16) bool { return slices.Equal(a, got) }):
		d.t.Errorf("step %d: %s is %#x, want %#x", n, kind, got, allowed)
	}
}

func (d *caseDesk) ended(id string) bool {
	for _, r := range d.connections(id) {
		if r.over() {
			return true
		}
	}
	return false
}

func (d *caseDesk) expectEnd(id string, want bool) {
	d.t.Helper()
	if got := d.ended(id); got != want {
		d.t.Errorf("a connection of %q has ended: %v, want %v", id, got, want)
	}
}

// hears is the client of an expectation: that which it names, else its step's, else
// the case's first.
func (d *caseDesk) hears(e map[string]json.RawMessage) string {
	if id := unquoted(e["client"]); id != "" {
		return id
	}
	if e["step"] != nil {
		return d.c.clientOf(number(e["step"]))
	}
	for n := range d.c.Steps {
		if id := d.c.clientOf(n); id != "" {
			return id
		}
	}
	return ""
}

// settle waits until what was published before has come to that client: the
// acknowledgement of a message that nobody can subscribe to comes after that.
func (d *caseDesk) settle(id string) {
	d.t.Helper()
	for _, other := range d.ids() {
		if r := d.devices[other]; !r.over() {
			const marker = 0xfffe
			r.forget(marker)
			if _, err := r.Conn.Write(r.encode(publish(marker, "$aws/rules/none/t", ""))); err == nil {
				r.ackedOrOver(marker)
			}
		}
	}
	d.client(id).settled()
}

// covers reports whether a filter covers a topic, $ or not.
func covers(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i := range f {
		switch {
		case f[i] == "#":
			return true
		case i >= len(t) || f[i] != "+" && f[i] != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}

// forbidden reads what must not come: a topic or filter, several, or true for
// anything at all; of another client, when an object names it.
func forbidden(d *caseDesk, e map[string]json.RawMessage) (filters []string, id string) {
	d.t.Helper()
	raw, id := e["no_message"], d.hears(e)
	if strings.HasPrefix(string(raw), "{") {
		of := must[struct {
			Client, Topic string
		}](d.t, raw)
		if of.Client != "" {
			id = of.Client
		}
		raw = quoted(of.Topic)
		if of.Topic == "" {
			raw = json.RawMessage("true")
		}
	}
	if string(raw) == "true" {
		return []string{"#"}, id
	}
	if filters = texts(raw); len(filters) == 0 {
		d.t.Fatalf("no_message: %s names no topic", raw)
	}
	return filters, id
}

// says compares a message with what is expected of its payload as a whole and of its
// packet.
func (d *caseDesk) says(pk packets.Packet, e map[string]json.RawMessage) (wrong string) {
	d.t.Helper()
	switch {
	case (hasKey(e, "payload_b64") || hasKey(e, "payload")) && string(payload(d.t, e)) != string(pk.Payload):
		return "another payload"
	case hasKey(e, "payload_json") && !sameJSON(pk.Payload, e["payload_json"]):
		return "another payload"
	case e["qos"] != nil && pk.FixedHeader.Qos != must[byte](d.t, e["qos"]):
		return "another QoS"
	case e["correlation_data"] != nil && string(pk.Properties.CorrelationData) != must[string](d.t, e["correlation_data"]):
		return "other correlation data"
	case pk.FixedHeader.Retain != (string(e["retain"]) == "true"):
		return "another retain flag"
	}
	for _, key := range texts(e["absent_fields"]) {
		var got map[string]any
		if json.Unmarshal(pk.Payload, &got) != nil || got[key] != nil {
			return "it has " + key
		}
	}
	return ""
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && holds(x, y) && holds(y, x)
}
