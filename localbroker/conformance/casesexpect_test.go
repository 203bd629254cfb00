package conformance

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// answer is the response message of a command.
type answer struct {
	Version     string `json:"vsn"`
	Topic       string `json:"topic"`
	PacketID    uint16 `json:"packet_id"`
	Code        int    `json:"reason_code"`
	Description string `json:"reason_description"`
}

func (b *uploadBed) expect(e map[string]json.RawMessage) {
	b.t.Helper()
	n := number(e["step"])
	switch {
	case e["status"] != nil:
		b.expectWeb(n, e)
	case e["file"] != nil:
		b.expectFile(e["file"])
	case hasKey(e, "no_file"):
		b.expectNoFile(e["no_file"])
	case count(e, ofCodes) > 0:
		b.expectAck(n, e)
	case says(e):
		b.expectMessage(e)
	default:
		b.expectNoMessage(e)
	}
}

// says reports whether an expectation is about a message that comes.
func says(e map[string]json.RawMessage) bool {
	return count(e, ofMessages) > count(e, []string{"no_message"})
}

func (b *uploadBed) expectWeb(n int, e map[string]json.RawMessage) {
	b.t.Helper()
	got := b.web[n]
	if got.status != must[int](b.t, e["status"]) || e["code"] != nil && got.text("code") != unquoted(e["code"]) {
		b.t.Errorf("step %d is answered with %d %s, want %s %s", n, got.status, got.body, e["status"], e["code"])
	}
	if want := e["content_type"]; want != nil && got.header.Get("Content-Type") != must[string](b.t, want) {
		b.t.Errorf("step %d is answered as %q, want %s", n, got.header.Get("Content-Type"), want)
	}
	if (hasKey(e, "payload_b64") || hasKey(e, "payload")) && got.body != string(payload(b.t, e)) || hasKey(e, "payload_json") && !sameJSON([]byte(got.body), e["payload_json"]) {
		b.t.Errorf("step %d is answered with another body: %.200q", n, got.body)
	}
	for _, key := range texts(e["absent_fields"]) {
		if got.has(key) {
			b.t.Errorf("step %d: %s is in %s", n, key, got.body)
		}
	}
	if e["fields"] == nil {
		return
	}
	var body any
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || !holds(body, must[any](b.t, e["fields"])) {
		b.t.Errorf("step %d is answered with %s, want %s", n, got.body, e["fields"])
	}
}

// has reports whether the JSON object that was answered has that key.
func (a asked) has(key string) bool {
	var all map[string]json.RawMessage
	return json.Unmarshal([]byte(a.body), &all) == nil && all[key] != nil
}

func escapedQuery(s string) string { return url.QueryEscape(s) }

// holds reports whether a value of JSON has all that is wanted of it.
func holds(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		for key, value := range want {
			ok = ok && holds(object[key], value)
		}
		return ok
	case []any:
		list, ok := got.([]any)
		ok = ok && len(list) == len(want)
		for i := range want {
			ok = ok && holds(list[i], want[i])
		}
		return ok
	}
	if text, ok := got.(string); ok && want == "@nonempty" {
		return text != ""
	}
	return got == want
}

func hasKey(e map[string]json.RawMessage, key string) bool {
	_, ok := e[key]
	return ok
}

// reused reports whether a fin was refused because its file id is another file's:
// of that quirk, which the cases have without "ours", the specification says in its
// own words what to do instead (§4, reused file ids; F34).
func (b *uploadBed) reused(n int) bool {
	return b.c.Level == "emqx-quirk" && b.c.Ours == nil && slices.Equal(b.acks[n]["puback_rc"], []uint16{0x80}) && strings.Contains(b.c.text(n, "publish"), "/fin/")
}

// ordinary is the topic of the case about $file alone, which is no command but a
// message (E28). EMQX answers 0x10 where nobody has subscribed; this broker, like
// AWS IoT Core, does not tell a publisher who has, and answers 0x00.
const ordinary = "$file"

func (b *uploadBed) expectAck(n int, e map[string]json.RawMessage) {
	b.t.Helper()
	if b.c.ID == "E33" && n == 5 && !b.reused(n) {
		b.t.Errorf("another file under the same id is answered with %#x, want 0x80 (F34)", b.acks[n])
	}
	if b.reused(n) {
		return // of a refusal that expectMessage looks at
	}
	if b.c.text(n, "publish") == ordinary && string(e["puback_rc"]) == "16" {
		e = map[string]json.RawMessage{"step": e["step"], "puback_rc": json.RawMessage("0")}
	}
	b.expectCodes(e)
}

// expectMessage waits for the response of a step, and that there is one only (F04);
// or for any other message that a client is to hear.
func (b *uploadBed) expectMessage(e map[string]json.RawMessage) {
	b.t.Helper()
	n, id, topic := number(e["step"]), b.hears(e), unquoted(e["topic"])
	want := map[string]any{}
	switch {
	case e["fields"] != nil:
		want = must[map[string]any](b.t, e["fields"])
	case e["step"] != nil && strings.HasPrefix(topic, responses):
		want = map[string]any{"topic": "@step", "packet_id": "@step"}
	}
	if b.reused(n) && want["reason_code"] != nil {
		want["reason_code"], want["reason_description"] = 128.0, "filemeta_conflict"
	}
	for key, value := range want {
		switch {
		case value != "@step":
		case key == "topic":
			want[key] = b.c.text(n, "publish")
		case key == "packet_id":
			want[key] = float64(b.c.packetOf(n))
		}
	}
	var r *recorder
	var at, found int
	var wrong string
	look := func() bool {
		found = 0
		for _, connection := range b.connections(id) {
			for i, pk := range connection.messages() {
				if topic != "" && !covers(topic, pk.TopicName) || len(want) > 0 && !saysAll(pk.Payload, want) {
					continue
				}
				if wrong = b.says(pk, e); wrong == "" {
					r, at, found = connection, i, found+1
				}
			}
		}
		return found > 0
	}
	if string(e["count"]) == "0" {
		b.settle(id)
		if look() {
			b.t.Errorf("%s heard %d messages of %s", id, found, e)
		}
		return
	}
	eventually(b.t, fmt.Sprintf("a message for %s: %s (of a message like it: %s)", id, e, wrong), look)
	if e["count"] != nil {
		if b.settle(id); look() && found != must[int](b.t, e["count"]) {
			b.t.Errorf("%s heard %d messages of %s", id, found, e)
		}
	}
	if e["no_message"] != nil {
		b.expectNoMessage(e)
	}
	if all := b.responsesOf(n, id); len(all) > 1 && e["step"] != nil && e["count"] == nil {
		b.t.Errorf("step %d has %d responses: %s", n, len(all), all)
	}
	if string(e["after_puback"]) == "true" {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.after[b.c.packetOf(n)] > at {
			b.t.Errorf("step %d: the response came before the PUBACK", n)
		}
	}
}

// saysAll reports whether a JSON object has all these fields.
func saysAll(payload []byte, want map[string]any) bool {
	var got any
	return json.Unmarshal(payload, &got) == nil && holds(got, want)
}

// responsesOf lists what a client has heard in response to a step, once each. Of
// QoS 0 it has no packet id of its own, so it would be that of no other step.
func (b *uploadBed) responsesOf(n int, client string) (all []string) {
	for _, connection := range b.connections(client) {
		for _, pk := range connection.messages() {
			var a answer
			if json.Unmarshal(pk.Payload, &a) != nil || a.Topic != b.c.text(n, "publish") || pk.FixedHeader.Dup {
				continue
			}
			if a.PacketID == b.c.packetOf(n) || string(b.c.Steps[n]["qos"]) == "0" && !b.acknowledged(a.PacketID) {
				all = append(all, pk.TopicName+" "+string(pk.Payload))
			}
		}
	}
	return all
}

// acknowledged reports whether a packet id is that of a step with QoS 1 or 2.
func (b *uploadBed) acknowledged(id uint16) bool {
	for n := range b.acks {
		if b.c.packetOf(n) == id && len(b.acks[n]) > 0 {
			return true
		}
	}
	return false
}

// expectNoMessage looks for a response of a step, or at a topic that is none of
// responses for anything. Without a step nothing may have come there at all.
func (b *uploadBed) expectNoMessage(e map[string]json.RawMessage) {
	b.t.Helper()
	filters, client := forbidden(b.caseDesk, e)
	b.settle(client)
	for _, filter := range filters {
		if e["step"] != nil {
			n := number(e["step"])
			for _, got := range b.responsesOf(n, client) {
				if topic, _, _ := strings.Cut(got, " {"); covers(filter, topic) {
					b.t.Errorf("step %d has a response: %s", n, got)
				}
			}
		}
		for _, connection := range b.connections(client) {
			for _, pk := range connection.messages() {
				if covers(filter, pk.TopicName) && (e["step"] == nil || !saysAll(pk.Payload, map[string]any{"vsn": "0.1"})) {
					b.t.Errorf("%s heard %q on %s", client, pk.Payload, pk.TopicName)
				}
			}
		}
	}
}
