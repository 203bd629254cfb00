package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// recorder is a device that keeps what it hears.
type recorder struct {
	*device
	ended chan struct{}

	mu    sync.Mutex
	heard []packets.Packet // of messages, in order
	acks  map[uint16]packets.Packet
	after map[uint16]int // how many messages had come when an acknowledgement came
	pongs int
}

// record lets a device listen; nothing else may read from it.
func record(d *device) *recorder {
	r := &recorder{device: d, ended: make(chan struct{}), acks: map[uint16]packets.Packet{}, after: map[uint16]int{}}
	go func() {
		defer close(r.ended)
		for {
			pk, err := d.read()
			if err != nil {
				return
			}
			r.note(pk)
		}
	}()
	d.tb.Cleanup(func() {
		_ = d.Close()
		<-r.ended
	})
	return r
}

func (r *recorder) note(pk packets.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch pk.FixedHeader.Type {
	case packets.Publish:
		r.heard = append(r.heard, pk)
		if pk.FixedHeader.Qos > 0 {
			_, _ = r.Conn.Write(r.encode(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})) // fails when the test cuts it
		}
	case packets.Puback, packets.Pubrec:
		if r.version == 5 && pk.FixedHeader.Type == packets.Pubrec && len(r.body) > 2 {
			pk.ReasonCode = r.body[2]
		}
		pk.PacketID = uint16(r.body[0])<<8 | uint16(r.body[1])
		r.acks[pk.PacketID], r.after[pk.PacketID] = pk, len(r.heard)
	case packets.Pingresp:
		r.pongs++
	}
}

// acked waits for the acknowledgement of a packet id.
func (r *recorder) acked(id uint16) (pk packets.Packet) {
	r.tb.Helper()
	eventually(r.tb, "an acknowledgement", func() (ok bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		pk, ok = r.acks[id]
		return ok
	})
	return pk
}

// all is what has come so far, after a PINGREQ has been answered.
func (r *recorder) all() []packets.Packet {
	r.tb.Helper()
	r.mu.Lock()
	want := r.pongs + 1
	r.mu.Unlock()
	r.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	eventually(r.tb, "a PINGRESP", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.pongs >= want
	})
	return r.messages()
}

func (r *recorder) messages() []packets.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.heard)
}

// answer is the response message of a command.
type answer struct {
	Version     string `json:"vsn"`
	Topic       string `json:"topic"`
	PacketID    uint16 `json:"packet_id"`
	Code        int    `json:"reason_code"`
	Description string `json:"reason_description"`
}

// uploadBed is a depot with the devices of a case.
type uploadBed struct {
	*depot
	t       *testing.T
	c       *fileCase
	devices map[string]*recorder
	gone    []*recorder    // earlier connections of them
	acks    map[int]uint16 // reason codes by step, 0 for MQTT 3.1.1
	web     map[int]asked  // answers over HTTP, by step
}

func newUploadBed(t *testing.T, c *fileCase) *uploadBed {
	b := &uploadBed{t: t, c: c, devices: map[string]*recorder{}, acks: map[int]uint16{}, web: map[int]asked{}}
	b.depot = openDepot(t, func(s *depotSetup) {
		if c.Profile != "" {
			s.profile = c.Profile
		}
	})
	return b
}

// client finds the device of a step, which has subscribed to its responses.
func (b *uploadBed) client(id string) *recorder {
	b.t.Helper()
	r := b.devices[id]
	if r != nil {
		select {
		case <-r.ended: // a jump of the clock, or a restart, has ended it
		default:
			return r
		}
	}
	version := byte(5)
	if b.c.Proto == 4 {
		version = 4
	}
	d := b.join(version, id)
	d.wantCodes(d.subscribe(1, "$file-response/"+id), 1)
	if r != nil {
		b.gone = append(b.gone, r)
	}
	b.devices[id] = record(d)
	return b.devices[id]
}

func (b *uploadBed) step(n int, s map[string]json.RawMessage) {
	b.t.Helper()
	id := unquoted(s["client"])
	switch {
	case s["publish"] != nil:
		b.publish(n, b.client(id), s)
	case s["subscribe"] != nil:
		r := b.client(id)
		r.send(subscribing(1, unquoted(s["subscribe"])))
		r.all()
	case s["connect"] != nil:
		b.client(id)
	case s["disconnect"] != nil:
		r := b.client(id)
		if unquoted(s["disconnect"]) != "drop" {
			r.goodbye()
		}
		_ = r.Close()
		<-r.ended
		b.absent(id)
	case s["restart_server"] != nil:
		for _, r := range b.devices {
			_ = r.Close()
			<-r.ended
		}
		b.restart()
	case s["http_get"] != nil:
		b.web[n] = b.get(strings.ReplaceAll(unquoted(s["http_get"]), "@node", depotNode))
	case s["advance_seconds"] != nil:
		b.clock.advance(time.Duration(number(s["advance_seconds"])) * time.Second)
		if string(s["run_gc"]) == "true" {
			b.service.Sweep()
		}
	default:
		b.t.Fatalf("step %d is not known: %v", n, s)
	}
}

// packetOf is the packet id of a step.
func packetOf(n int) uint16 { return uint16(n + 1) }

func (b *uploadBed) publish(n int, r *recorder, s map[string]json.RawMessage) {
	b.t.Helper()
	qos := byte(number(s["qos"]))
	pk := publish(packetOf(n), unquoted(s["publish"]), string(payload(b.t, s)), func(pk *packets.Packet) {
		pk.FixedHeader.Qos, pk.FixedHeader.Retain, pk.FixedHeader.Dup = qos, string(s["retain"]) == "true", string(s["dup"]) == "true"
		pk.Properties.ResponseTopic, pk.Properties.CorrelationData = unquoted(s["response_topic"]), []byte(unquoted(s["correlation_data"]))
	})
	if qos == 0 {
		pk.PacketID = 0
	}
	r.send(pk)
	switch qos {
	case 0:
		r.all()
	case 2:
		b.acks[n] = uint16(r.acked(pk.PacketID).ReasonCode)
		r.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: pk.PacketID})
	default:
		b.acks[n] = uint16(r.acked(pk.PacketID).ReasonCode)
	}
}

func (b *uploadBed) expect(e map[string]json.RawMessage) {
	b.t.Helper()
	n := number(e["step"])
	for key := range e {
		if !slices.Contains([]string{"step", "puback_rc", "puback_rc_any", "pubrec_rc", "topic", "qos", "fields", "after_puback", "no_message", "absent_fields", "file", "no_file", "status", "code"}, key) {
			b.t.Fatalf("an expectation of %q is not known", key)
		}
	}
	switch {
	case e["status"] != nil:
		if got := b.web[n]; got.status != number(e["status"]) || e["code"] != nil && got.text("code") != unquoted(e["code"]) {
			b.t.Errorf("step %d is answered with %d %s, want %s %s", n, got.status, got.body, e["status"], e["code"])
		}
	case e["file"] != nil:
		b.expectFile(e["file"])
	case hasKey(e, "no_file"):
		b.expectNoFile(e["no_file"])
	case e["fields"] != nil:
		b.expectMessage(n, e)
	case e["no_message"] != nil:
		b.expectNoMessage(n, unquoted(e["no_message"]))
	default:
		b.expectCode(n, e)
	}
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
	for _, key := range []string{"puback_rc", "pubrec_rc"} {
		if e[key] != nil {
			allowed = append(allowed, number(e[key]))
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

// expectMessage waits for the response of a step.
func (b *uploadBed) expectMessage(n int, e map[string]json.RawMessage) {
	b.t.Helper()
	var want map[string]any
	if err := json.Unmarshal(e["fields"], &want); err != nil {
		b.t.Fatal(err)
	}
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
	r, topic := b.client(b.c.text(n, "client")), unquoted(e["topic"])
	var at int
	eventually(b.t, "the response of a step: "+string(e["fields"]), func() bool {
		for _, connection := range append(slices.Clone(b.gone), r) {
			for i, pk := range connection.messages() {
				if pk.TopicName == topic && saysAll(pk.Payload, want) {
					r, at = connection, i
					return true
				}
			}
		}
		return false
	})
	if e["after_puback"] != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.after[packetOf(n)] > at {
			b.t.Errorf("step %d: the response came before the PUBACK", n)
		}
	}
}

// saysAll reports whether a JSON object has all these fields.
func saysAll(payload []byte, want map[string]any) bool {
	var got map[string]any
	if json.Unmarshal(payload, &got) != nil {
		return false
	}
	for key, value := range want {
		if got[key] != value {
			return false
		}
	}
	return true
}

func (b *uploadBed) expectNoMessage(n int, topic string) {
	b.t.Helper()
	for _, pk := range b.client(b.c.text(n, "client")).all() {
		if pk.TopicName == topic && saysAll(pk.Payload, map[string]any{"topic": b.c.text(n, "publish")}) {
			b.t.Errorf("step %d has a response: %s", n, pk.Payload)
		}
	}
}

func (b *uploadBed) expectFile(raw json.RawMessage) {
	b.t.Helper()
	var want struct {
		ClientID, FileID, Name string
		Size                   int64
		SHA256, RelPath        string
		Count                  int
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		b.t.Fatal(err)
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
	var not struct{ ClientID, FileID string }
	_ = json.Unmarshal(raw, &not) // without any, there are none at all
	for _, path := range b.exported() {
		if strings.Contains(path, "/"+not.ClientID+"/"+not.FileID+"/") || not.ClientID == "" {
			b.t.Errorf("there is %s", path)
		}
	}
}
