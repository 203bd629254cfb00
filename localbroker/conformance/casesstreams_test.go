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
}

// streamFile is one file of it.
type streamFile struct {
	File int `json:"f"`
	Size int `json:"z"`
}

// heard is a message of a stream that came for a step.
type heard struct {
	topic  string
	qos    byte
	fields map[string]any
	block  []byte
	isText bool // the block was a text
}

// streamBed is a gate that delivers streams, with the devices of a case. Before
// each step all that came for the one before has come.
type streamBed struct {
	*yard
	t       *testing.T
	c       *fileCase
	fixture streamFixture
	devices map[string]*recorder
	last    int                        // the step of the last request
	heard   map[int]map[string][]heard // by step and client
	took    map[string]int             // messages of a client that belong to earlier steps
	changed bool                       // the cloud's bytes are others now
}

func newStreamBed(t *testing.T, c *fileCase) *streamBed {
	b := &streamBed{t: t, c: c, devices: map[string]*recorder{}, heard: map[int]map[string][]heard{}, took: map[string]int{}}
	if err := json.Unmarshal(c.Fixture, &b.fixture); err != nil {
		t.Fatalf("the fixture: %v", err)
	}
	cloudy := slices.ContainsFunc(c.Steps, func(s map[string]json.RawMessage) bool { return s["cloud_stream"] != nil })
	b.yard = openYard(t, c.Profile, cloudy, func(o *delivery.Options) {
		if c.lenient {
			o.Range = "lenient"
		}
	})
	if !cloudy {
		b.define(b.fixture)
	}
	return b
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
	var c delivery.Change
	dir := b.t.TempDir()
	for _, file := range f.Files {
		path := filepath.Join(dir, strconv.Itoa(file.File))
		if err := os.WriteFile(path, streamContent(file.File, file.Size), 0o600); err != nil {
			b.t.Fatal(err)
		}
		c.Paths = append(c.Paths, fmt.Sprintf("%d=%s", file.File, path))
	}
	if f.Description != "" {
		c.Description = &f.Description
	}
	write := b.library.Create
	if _, err := b.library.Describe(f.Stream); err == nil {
		write = b.library.Update
	}
	if _, err := write(b.t.Context(), f.Stream, c); err != nil {
		b.t.Fatal(err)
	}
}

func (b *streamBed) client(id string) *recorder {
	b.t.Helper()
	if r := b.devices[id]; r != nil {
		select {
		case <-r.ended: // a refusal has ended it
		default:
			return r
		}
	}
	d := b.join(cmp.Or(b.c.Proto, 5), id)
	d.wantCodes(d.subscribe(1, "$aws/things/"+id+"/streams/#", "$aws/things/+/streams/#"), 1, 1)
	b.devices[id], b.took[id] = record(d), 0
	return b.devices[id]
}

func (b *streamBed) step(n int, s map[string]json.RawMessage) {
	b.t.Helper()
	switch {
	case s["publish"] != nil:
		b.ask(n, unquoted(s["client"]), s)
	case s["subscribe"] != nil:
		r := b.client(unquoted(s["client"]))
		r.send(subscribing(1, must[string](b.t, s["subscribe"])))
		r.settled()
	case s["repeat_as_clients"] != nil:
		for _, id := range must[[]string](b.t, s["repeat_as_clients"]) {
			again := maps.Clone(b.c.Steps[b.last])
			again["publish"] = quoted(strings.Replace(unquoted(again["publish"]), "/"+unquoted(again["client"])+"/", "/"+id+"/", 1))
			b.ask(b.last, id, again)
		}
	case s["update_stream"] != nil:
		b.define(must[streamFixture](b.t, s["update_stream"]))
	case s["cloud_stream"] != nil:
		b.isFixture(must[string](b.t, s["cloud_stream"]))
		b.upload(0)
	case s["cloud_update_stream"] != nil:
		update := must[struct {
			Stream string `json:"stream"`
			Bytes  bool   `json:"change_bytes"`
		}](b.t, s["cloud_update_stream"])
		b.isFixture(update.Stream)
		b.changed = b.changed != update.Bytes
		b.upload(map[bool]byte{true: 1}[b.changed])
	case s["cloud"] != nil:
		switch state := unquoted(s["cloud"]); state {
		case "up", "down":
			b.link(state == "up")
		default:
			b.t.Fatalf("step %d: the cloud cannot be %q", n, state)
		}
	case s["disconnect"] != nil:
		b.cut(b.client(unquoted(s["client"])).device, unquoted(s["client"]))
	default:
		b.client(unquoted(s["client"]))
	}
}

// isFixture looks at what stream a step is about: the cloud has but one.
func (b *streamBed) isFixture(id string) {
	b.t.Helper()
	if id != b.fixture.Stream {
		b.t.Fatalf("the stream %q is not the fixture's", id)
	}
}

// upload defines the fixture's stream in the cloud, with so much added to each
// byte.
func (b *streamBed) upload(more byte) {
	files := map[int][]byte{}
	for _, f := range b.fixture.Files {
		content := streamContent(f.File, f.Size)
		for i := range content {
			content[i] += more
		}
		files[f.File] = content
	}
	b.sandbox.Streams().Put(b.fixture.Stream, b.fixture.Description, files)
}

// ask publishes a request and waits until the service is done with it.
func (b *streamBed) ask(n int, id string, s map[string]json.RawMessage) {
	b.t.Helper()
	b.last = n
	r, qos := b.client(id), byte(number(s["qos"]))
	pk := publish(packetOf(n), unquoted(s["publish"]), string(payload(b.t, s)), func(pk *packets.Packet) { pk.FixedHeader.Qos = qos })
	if qos == 0 {
		pk.PacketID = 0
	}
	r.send(pk)
	r.settled()
	eventually(b.t, "the request is answered", b.service.Idle)
	r.settled()
	all := r.messages()
	if b.heard[n] == nil {
		b.heard[n] = map[string][]heard{}
	}
	for _, m := range all[b.took[id]:] {
		b.heard[n][id] = append(b.heard[n][id], b.read(m))
	}
	b.took[id] = len(all)
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
	m.topic, m.qos = pk.TopicName, pk.FixedHeader.Qos
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

// of lists what a step's client heard on a topic; empty: on any.
func (b *streamBed) of(n int, topic string) (out []heard) {
	for _, m := range b.heard[n][b.c.text(n, "client")] {
		if topic == "" || m.topic == topic {
			out = append(out, m)
		}
	}
	return out
}

func (b *streamBed) expect(e map[string]json.RawMessage) {
	b.t.Helper()
	n := number(e["step"])
	for key, value := range e {
		switch key {
		case "no_message":
			topic := must[string](b.t, value)
			if got := b.of(n, topic); len(got) > 0 {
				b.t.Errorf("step %d: %v came on %s", n, got[0].fields, topic)
			}
		case "cloud_requests_for_bytes":
			b.expectFetched(value)
		case "each_client_gets_blocks":
			b.expectEach(value)
		case "content":
			b.expectContent(n)
		}
	}
	got := b.of(n, unquoted(e["topic"]))
	if e["topic"] == nil {
		return
	}
	if len(got) == 0 || e["block_numbers"] == nil && len(got) > 1 {
		b.t.Fatalf("step %d: %d messages came on %s, of %v", n, len(got), unquoted(e["topic"]), b.heard[n])
	}
	if e["qos"] != nil && int(got[0].qos) != number(e["qos"]) {
		b.t.Errorf("step %d: the answer has QoS %d", n, got[0].qos)
	}
	for _, key := range []string{"fields", "cbor_fields"} {
		b.expectFields(got[0], e[key])
	}
	if e["absent_fields"] != nil {
		for _, key := range must[[]string](b.t, e["absent_fields"]) {
			if v, there := got[0].fields[key]; there {
				b.t.Errorf("step %d: %s is %v", n, key, v)
			}
		}
	}
	if e["block_numbers"] != nil {
		b.expectBlocks(got, e)
	}
}
