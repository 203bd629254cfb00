package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
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
	case e["fields"] != nil:
		b.expectMessage(n, e)
	case e["no_message"] != nil:
		b.expectNoMessage(n, e["no_message"])
	default:
		b.expectCode(n, e)
	}
}

func (b *uploadBed) expectWeb(n int, e map[string]json.RawMessage) {
	b.t.Helper()
	got := b.web[n]
	if got.status != must[int](b.t, e["status"]) || e["code"] != nil && got.text("code") != unquoted(e["code"]) {
		b.t.Errorf("step %d is answered with %d %s, want %s %s", n, got.status, got.body, e["status"], e["code"])
	}
	if e["fields"] == nil {
		return
	}
	var body any
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || !holds(body, must[any](b.t, e["fields"])) {
		b.t.Errorf("step %d is answered with %s, want %s", n, got.body, e["fields"])
	}
}

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
	return b.c.Level == "emqx-quirk" && b.c.Ours == nil && b.acks[n] == 0x80 && strings.Contains(b.c.text(n, "publish"), "/fin/")
}

// ordinary is the topic of the case about $file alone, which is no command but a
// message (E28). EMQX answers 0x10 where nobody has subscribed; this broker, like
// AWS IoT Core, does not tell a publisher who has, and answers 0x00.
const ordinary = "$file"

func (b *uploadBed) expectCode(n int, e map[string]json.RawMessage) {
	b.t.Helper()
	if b.c.ID == "E33" && n == 5 && !b.reused(n) {
		b.t.Errorf("another file under the same id is answered with %#x, want 0x80 (F34)", b.acks[n])
	}
	if b.c.Proto == 4 || b.reused(n) {
		return // of a refusal that expectMessage looks at
	}
	got := int(b.acks[n])
	var allowed []int
	for _, key := range []string{"puback_rc", "pubrec_rc", "suback_rc"} {
		if e[key] != nil {
			allowed = append(allowed, must[int](b.t, e[key]))
		}
	}
	if e["puback_rc_any"] != nil {
		if err := json.Unmarshal(e["puback_rc_any"], &allowed); err != nil {
			b.t.Fatal(err)
		}
	}
	if b.c.text(n, "publish") == ordinary && slices.Equal(allowed, []int{0x10}) {
		allowed = []int{0}
	}
	if !slices.Contains(allowed, got) {
		b.t.Errorf("step %d is acknowledged with %#x, want %v", n, got, allowed)
	}
}

// connections are those of a client, the earlier ones first.
func (b *uploadBed) connections(id string) []*recorder {
	return append(slices.Clone(b.gone[id]), b.client(id))
}

// expectMessage waits for the response of a step, and that there is one only (F04).
func (b *uploadBed) expectMessage(n int, e map[string]json.RawMessage) {
	b.t.Helper()
	want := must[map[string]any](b.t, e["fields"])
	if b.reused(n) {
		want["reason_code"], want["reason_description"] = 128.0, "filemeta_conflict"
	}
	for key, value := range want {
		switch {
		case value != "@step":
		case key == "topic":
			want[key] = b.c.text(n, "publish")
		case key == "packet_id":
			want[key] = float64(packetOf(n))
		}
	}
	topic := unquoted(e["topic"])
	var r *recorder
	var at int
	var found packets.Packet
	eventually(b.t, "the response of a step: "+string(e["fields"]), func() bool {
		for _, connection := range b.connections(b.c.text(n, "client")) {
			for i, pk := range connection.messages() {
				if pk.TopicName == topic && saysAll(pk.Payload, want) {
					r, at, found = connection, i, pk
					return true
				}
			}
		}
		return false
	})
	if e["qos"] != nil && int(found.FixedHeader.Qos) != must[int](b.t, e["qos"]) || found.FixedHeader.Retain {
		b.t.Errorf("step %d: the response has QoS %d, retained %v", n, found.FixedHeader.Qos, found.FixedHeader.Retain)
	}
	if want := e["correlation_data"]; want != nil && string(found.Properties.CorrelationData) != must[string](b.t, want) {
		b.t.Errorf("step %d: the response has the correlation data %q", n, found.Properties.CorrelationData)
	}
	if e["absent_fields"] != nil {
		for _, key := range must[[]string](b.t, e["absent_fields"]) {
			if got := must[map[string]any](b.t, found.Payload); got[key] != nil {
				b.t.Errorf("step %d: %s is %v", n, key, got[key])
			}
		}
	}
	if e["no_message"] != nil {
		b.expectNoMessage(n, e["no_message"])
	}
	if all := b.responsesOf(n, b.c.text(n, "client")); len(all) > 1 {
		b.t.Errorf("step %d has %d responses: %s", n, len(all), all)
	}
	if string(e["after_puback"]) == "true" {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.after[packetOf(n)] > at {
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
			if a.PacketID == packetOf(n) || number(b.c.Steps[n]["qos"]) == 0 && !b.acknowledged(a.PacketID) {
				all = append(all, pk.TopicName+" "+string(pk.Payload))
			}
		}
	}
	return all
}

// acknowledged reports whether a packet id is that of a step with QoS 1 or 2.
func (b *uploadBed) acknowledged(id uint16) bool {
	_, ok := b.acks[int(id)-1]
	return ok
}

// expectNoMessage looks for a response of a step, or at a topic that is none of
// responses for anything.
func (b *uploadBed) expectNoMessage(n int, raw json.RawMessage) {
	b.t.Helper()
	client, topic := b.c.text(n, "client"), must[string](b.t, raw)
	b.client(client).all()
	for _, got := range b.responsesOf(n, client) {
		if strings.HasPrefix(got, topic+" ") {
			b.t.Errorf("step %d has a response: %s", n, got)
		}
	}
	for _, connection := range b.connections(client) {
		for _, pk := range connection.messages() {
			if pk.TopicName == topic && !saysAll(pk.Payload, map[string]any{"vsn": "0.1"}) {
				b.t.Errorf("step %d: %q came on %s", n, pk.Payload, topic)
			}
		}
	}
}

func (b *uploadBed) expectFile(raw json.RawMessage) {
	b.t.Helper()
	want := must[struct {
		ClientID, FileID, Name string
		Size                   int64
		SHA256, RelPath        string
		Key                    string `json:"s3_key"`
		Count                  int
	}](b.t, raw)
	if key := bridge.EscapeID(want.ClientID) + "/" + bridge.EscapeID(want.FileID) + "/" + want.Name; want.Key != "" && key != want.Key {
		b.t.Errorf("in a bucket it would be %s, want %s", key, want.Key)
	}
	path := filepath.Join(b.exports, filepath.FromSlash(want.RelPath))
	eventually(b.t, "the file "+want.RelPath, func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
	content, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want.SHA256 || int64(len(content)) != want.Size || filepath.Base(path) != want.Name {
		b.t.Errorf("%s has %d bytes, %x", path, len(content), sum)
	}
	if _, err := os.Stat(path + ".MANIFEST.json"); err != nil {
		b.t.Error(err)
	}
	if got := b.filesOf(filepath.Dir(want.RelPath)); want.Count > 0 && len(got) != want.Count {
		b.t.Errorf("%d files, want %d: %q", len(got), want.Count, got)
	}
}

// filesOf are the exported files in a folder.
func (b *uploadBed) filesOf(folder string) []string {
	return slices.DeleteFunc(b.exported(), func(path string) bool { return filepath.Dir(path) != folder })
}

func (b *uploadBed) expectNoFile(raw json.RawMessage) {
	b.t.Helper()
	not := must[struct{ ClientID, FileID string }](b.t, raw) // without any, there are none at all
	for _, path := range b.exported() {
		if strings.Contains(path, "/"+bridge.EscapeID(not.ClientID)+"/"+bridge.EscapeID(not.FileID)+"/") || not.ClientID == "" {
			b.t.Errorf("there is %s", path)
		}
	}
}
