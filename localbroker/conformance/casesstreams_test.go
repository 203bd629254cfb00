package conformance

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker/delivery"
)

// streamFixture is the stream of a case.
type streamFixture struct {
	Stream      string       `json:"stream"`
	Version     int          `json:"version"`
	Description string       `json:"description"`
	Files       []streamFile `json:"files"`
	Thing       string       `json:"thing"`     // each device is a thing
	FileByte    string       `json:"file_byte"` // see streamContent
	Changed     bool         `json:"change_bytes"`
}

// fileByte is how the bytes of files are made; a case may say so.
const fileByte = "(i*31 + (i>>8)*7 + f) & 0xff"

// streamFile is one file of it.
type streamFile struct {
	File int `json:"f"`
	Size int `json:"z"`
}

// streamState is what a stream is made of.
type streamState struct {
	files   []streamFile
	changed bool
}

// heard is a message of a stream that came for a step.
type heard struct {
	topic  string
	packet packets.Packet
	fields map[string]any
	block  []byte
	isText bool // the block was a text
}

// streamBed is a gate that delivers streams, with the devices of a case. Before
// each step all that came for the one before has come.
type streamBed struct {
	*yard
	*caseDesk
	t       *testing.T
	c       *fileCase
	fixture streamFixture
	last    int                        // the step of the last request
	heard   map[int]map[string][]heard // by step and client
	took    map[*recorder]int          // messages of a connection that belong to earlier steps
	changed bool                       // the bytes of the stream are others now
	then    map[int]streamState        // as the stream was when a step asked
}

func newStreamBed(t *testing.T, c *fileCase) *streamBed {
	b := &streamBed{t: t, c: c, heard: map[int]map[string][]heard{}, took: map[*recorder]int{}, then: map[int]streamState{}}
	b.fixture = must[streamFixture](t, c.Fixture)
	if how := b.fixture.FileByte; how != "" && how != fileByte {
		t.Fatalf("the fixture: file_byte is %q, want %q", how, fileByte)
	}
	has := func(kinds ...string) bool {
		return slices.ContainsFunc(c.Steps, func(s map[string]json.RawMessage) bool { return slices.Contains(kinds, kindOf(s)) })
	}
	b.yard = openYard(t, c.Profile, has("cloud_stream", "cloud_update_stream", "cloud"), func(o *delivery.Options) {
		if c.lenient {
			o.Range = "lenient"
		}
		o.Range, o.JSONBitmap = cmp.Or(c.Range, o.Range), cmp.Or(c.Write, o.JSONBitmap)
	})
	b.caseDesk = newCaseDesk(t, c, func() *gate { return b.gate }, b.unasked)
	if !has("cloud_stream", "cloud_update_stream") {
		b.define(b.fixture)
	}
	b.attend()
	return b
}

// unasked is what a device subscribes to by itself: all that is answered to it. One
// whose first word is a subscription says itself what it wants to hear.
func (b *streamBed) unasked(id string) []string {
	for n, s := range b.c.Steps {
		if kind := kindOf(s); b.c.clientOf(n) == id && kind != "connect" {
			if kind == "subscribe" {
				return nil
			}
			break
		}
	}
	return []string{"$aws/things/" + id + "/streams/#", "$aws/things/+/streams/#"}
}

// streamContent is the file of a fixture: file_byte says how.
func streamContent(file, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*31 + (i>>8)*7 + file)
	}
	return b
}

// define creates or updates the fixture's stream on the gateway.
func (b *streamBed) define(f streamFixture) {
	b.t.Helper()
	c := delivery.Change{Description: &f.Description}
	if len(f.Files) == 0 {
		f.Files = b.fixture.Files
	}
	b.fixture.Files, b.changed = f.Files, b.changed != f.Changed
	dir := b.t.TempDir()
	for _, file := range f.Files {
		path := filepath.Join(dir, strconv.Itoa(file.File))
		if err := os.WriteFile(path, streamState{changed: b.changed}.content(file.File, file.Size), 0o600); err != nil {
			b.t.Fatal(err)
		}
		c.Paths = append(c.Paths, fmt.Sprintf("%d=%s", file.File, path))
	}
	if f.Description == "" {
		c.Description = nil // stays
	}
	write := b.library.Create
	if _, err := b.library.Describe(f.Stream); err == nil {
		write = b.library.Update
	}
	s, err := write(b.t.Context(), f.Stream, c)
	for err == nil && s.Version < f.Version {
		s, err = b.library.Update(b.t.Context(), f.Stream, c)
	}
	if err != nil || f.Version != 0 && s.Version != f.Version {
		b.t.Fatalf("the stream %+v is %+v, %v", f, s, err)
	}
}

// content is a file of the stream.
func (s streamState) content(file, size int) []byte {
	content := streamContent(file, size)
	for i := range content {
		if s.changed {
			content[i]++
		}
	}
	return content
}

func (b *streamBed) step(n int, s map[string]json.RawMessage) {
	b.t.Helper()
	switch {
	case s["publish"] != nil:
		b.ask(n, b.c.clientOf(n), s)
	case s["restart_server"] != nil:
		for _, id := range b.ids() {
			_ = b.devices[id].Close()
			<-b.devices[id].ended
		}
		b.restart(b.t)
		for _, id := range b.ids() {
			b.client(id) // who listened, listens
		}
	case s["advance_seconds"] != nil:
		b.clock.advance(time.Duration(must[float64](b.t, s["advance_seconds"]) * float64(time.Second)))
	case s["repeat_as_clients"] != nil:
		for _, id := range must[[]string](b.t, s["repeat_as_clients"]) {
			again := maps.Clone(b.c.Steps[b.last])
			again["publish"] = quoted(strings.Replace(unquoted(again["publish"]), "/"+unquoted(again["client"])+"/", "/"+id+"/", 1))
			b.ask(b.last, id, again)
		}
	case s["update_stream"] != nil:
		b.define(b.streamOf(s["update_stream"]))
	case s["cloud_stream"] != nil:
		b.isFixture(b.streamOf(s["cloud_stream"]).Stream)
		b.upload()
	case s["cloud_update_stream"] != nil:
		update := b.streamOf(s["cloud_update_stream"])
		b.isFixture(update.Stream)
		b.changed = b.changed != update.Changed
		if update.Files != nil {
			b.fixture.Files = update.Files
		}
		b.upload()
	case s["cloud"] != nil:
		b.link(isUp(b.t, s["cloud"]))
	default:
		b.caseDesk.step(n, s)
	}
}

// streamOf reads a stream of a step, or its name.
func (b *streamBed) streamOf(raw json.RawMessage) streamFixture {
	b.t.Helper()
	if name := unquoted(raw); name != "" {
		return streamFixture{Stream: name}
	}
	return must[streamFixture](b.t, raw)
}

// isFixture looks at what stream a step is about: the cloud has but one.
func (b *streamBed) isFixture(id string) {
	b.t.Helper()
	if id != b.fixture.Stream {
		b.t.Fatalf("the stream %q is not the fixture's", id)
	}
}

// upload defines the fixture's stream in the cloud, with the bytes of now.
func (b *streamBed) upload() {
	files := map[int][]byte{}
	for _, f := range b.fixture.Files {
		files[f.File] = streamState{changed: b.changed}.content(f.File, f.Size)
	}
	b.sandbox.Streams().Put(b.fixture.Stream, b.fixture.Description, files)
}

// ask publishes a request, and waits until the service is done with it and all have
// heard what came of it.
func (b *streamBed) ask(n int, id string, s map[string]json.RawMessage) {
	b.t.Helper()
	b.last, b.then[n] = n, streamState{b.fixture.Files, b.changed}
	r := b.client(id)
	b.publish(n, r, s)
	r.settled()
	eventually(b.t, "the request is answered", b.service.Idle)
	if b.heard[n] == nil {
		b.heard[n] = map[string][]heard{}
	}
	for _, who := range b.ids() {
		r := b.devices[who]
		r.settled()
		all := r.messages()
		for _, m := range all[b.took[r]:] {
			b.heard[n][who] = append(b.heard[n][who], b.read(m))
		}
		b.took[r] = len(all)
	}
}

// settled waits until what was sent has been taken, and what was answered has
// come; or the connection has ended.
func (r *recorder) settled() {
	r.tb.Helper()
	r.mu.Lock()
	want := r.pongs + 1
	r.mu.Unlock()
	_, _ = r.Conn.Write([]byte{packets.Pingreq << 4, 0}) // fails when a refusal has ended it
	eventually(r.tb, "a PINGRESP, or the end", func() bool {
		select {
		case <-r.ended:
			return true
		default:
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.pongs >= want
	})
}

func (b *streamBed) read(pk packets.Packet) (m heard) {
	b.t.Helper()
	m.topic, m.packet = pk.TopicName, pk
	if !strings.Contains(m.topic, "/streams/") {
		return m
	}
	var err error
	if strings.HasSuffix(m.topic, "/cbor") {
		err = cbor.Unmarshal(pk.Payload, &m.fields)
		m.block, _ = m.fields["p"].([]byte)
	} else if err = json.Unmarshal(pk.Payload, &m.fields); err == nil {
		var text string
		if text, m.isText = m.fields["p"].(string); m.isText {
			m.block, err = base64.StdEncoding.DecodeString(text)
		}
	}
	if err != nil {
		b.t.Errorf("%s: %v", m.topic, err)
	}
	return m
}

// of lists what the client of an expectation heard on a topic; without one: on any,
// and without a step: of all.
func (b *streamBed) of(e map[string]json.RawMessage, id, topic string) (out []heard) {
	for n := range b.c.Steps {
		if e["step"] != nil && number(e["step"]) != n {
			continue
		}
		for _, m := range b.heard[n][id] {
			if topic == "" || covers(topic, m.topic) {
				out = append(out, m)
			}
		}
	}
	return out
}

func (b *streamBed) expect(e map[string]json.RawMessage) {
	b.t.Helper()
	if count(e, ofCodes) > 0 {
		b.expectCodes(e)
		return
	}
	if e["no_message"] != nil {
		b.expectNoMessage(e)
	}
	for key, value := range e {
		switch key {
		case "cloud_requests_for_bytes":
			b.expectFetched(value)
		case "each_client_gets_blocks":
			b.expectEach(value)
		case "content":
			b.expectContent(e)
		}
	}
	if count(e, ofMessages) == count(e, []string{"no_message", "content"}) {
		return
	}
	topic := unquoted(e["topic"])
	if topic == "" && e["block_numbers"] != nil {
		topic = "$aws/things/+/streams/+/data/+"
	}
	got := b.of(e, b.hears(e), topic)
	switch {
	case e["count"] != nil && len(got) != must[int](b.t, e["count"]):
		b.t.Fatalf("%d messages came, want %s: %v", len(got), e["count"], got)
	case string(e["count"]) == "0":
		return
	case len(got) == 0, e["block_numbers"] == nil && e["count"] == nil && len(got) > 1:
		b.t.Fatalf("%s: %d messages came, of %v", e, len(got), b.heard[number(e["step"])])
	}
	for _, m := range got {
		if wrong := b.says(m.packet, partOf(e, "qos", "retain", "payload_json", "payload_b64", "payload", "correlation_data")); wrong != "" {
			b.t.Errorf("%s: %s: QoS %d, %v", e, wrong, m.packet.FixedHeader.Qos, m.fields)
		}
		for _, key := range texts(e["absent_fields"]) {
			if v, there := m.fields[key]; there {
				b.t.Errorf("%s: %s is %v", e, key, v)
			}
		}
	}
	for _, key := range []string{"fields", "cbor_fields"} {
		b.expectFields(got[0], e[key])
	}
	if e["block_numbers"] != nil {
		b.expectBlocks(got, e)
	}
}

// partOf is an expectation with some of its keys.
func partOf(e map[string]json.RawMessage, keys ...string) map[string]json.RawMessage {
	part := map[string]json.RawMessage{}
	for _, key := range keys {
		if value, there := e[key]; there {
			part[key] = value
		}
	}
	return part
}

// expectNoMessage looks at what a client heard of a step, and without a step at all
// that it ever heard.
func (b *streamBed) expectNoMessage(e map[string]json.RawMessage) {
	b.t.Helper()
	filters, id := forbidden(b.caseDesk, e)
	for _, filter := range filters {
		if e["step"] != nil {
			for _, m := range b.of(e, id, filter) {
				b.t.Errorf("step %s: %v came on %s to %s", e["step"], m.fields, m.topic, id)
			}
			continue
		}
		b.settle(id)
		for _, r := range b.connections(id) {
			for _, pk := range r.messages() {
				if covers(filter, pk.TopicName) {
					b.t.Errorf("%q came on %s to %s", pk.Payload, pk.TopicName, id)
				}
			}
		}
	}
}
