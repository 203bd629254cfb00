package conformance

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
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
	Stream      string `json:"stream"`
	Version     int    `json:"version"`
	Description string `json:"description"`
	Files       []struct {
		File int `json:"f"`
		Size int `json:"z"`
	} `json:"files"`
}

// heard is a message of a stream that came for a step.
type heard struct {
	topic  string
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
		t.Fatal(err)
	}
	cloudy := slices.ContainsFunc(c.Steps, func(s map[string]json.RawMessage) bool { return s["cloud_stream"] != nil })
	b.yard = openYard(t, c.Profile, cloudy)
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
	version := byte(5)
	if b.c.Proto == 4 {
		version = 4
	}
	d := b.join(version, id)
	d.wantCodes(d.subscribe(1, "$aws/things/"+id+"/streams/#", "$aws/things/+/streams/#"), 1, 1)
	b.devices[id], b.took[id] = record(d), 0
	return b.devices[id]
}

func (b *streamBed) step(n int, s map[string]json.RawMessage) {
	b.t.Helper()
	switch {
	case s["publish"] != nil:
		b.ask(n, unquoted(s["client"]), s)
	case s["repeat_as_clients"] != nil:
		var ids []string
		if err := json.Unmarshal(s["repeat_as_clients"], &ids); err != nil {
			b.t.Fatal(err)
		}
		for _, id := range ids {
			again := b.c.Steps[b.last]
			topic := strings.Replace(unquoted(again["publish"]), "/"+unquoted(again["client"])+"/", "/"+id+"/", 1)
			b.ask(b.last, id, map[string]json.RawMessage{"publish": quoted(topic), "payload_json": again["payload_json"], "qos": again["qos"]})
		}
	case s["update_stream"] != nil:
		var f streamFixture
		if err := json.Unmarshal(s["update_stream"], &f); err != nil {
			b.t.Fatal(err)
		}
		b.define(f)
	case s["cloud_stream"] != nil:
		b.upload(0)
	case s["cloud_update_stream"] != nil:
		b.changed = true
		b.upload(1)
	case s["cloud"] != nil:
		b.link(unquoted(s["cloud"]) == "up")
	case s["connect"] != nil:
		b.client(unquoted(s["client"]))
	default:
		b.t.Fatalf("step %d is not known: %v", n, s)
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
	m.topic = pk.TopicName
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
		case "step", "topic", "fields", "cbor_fields", "absent_fields", "block_numbers", "messages", "p_encoding", "why":
		case "no_message":
			if got := b.of(n, unquoted(value)); len(got) > 0 {
				b.t.Errorf("step %d: %v came on %s", n, got[0].fields, unquoted(value))
			}
		case "cloud_requests_for_bytes":
			b.expectFetched(value)
		case "each_client_gets_blocks":
			b.expectEach(value)
		case "content":
			b.expectContent(n)
		default:
			b.t.Fatalf("an expectation of %q is not known", key)
		}
	}
	got := b.of(n, unquoted(e["topic"]))
	if e["topic"] == nil {
		return
	}
	if len(got) == 0 {
		b.t.Fatalf("step %d: nothing came on %s, but %v", n, unquoted(e["topic"]), b.heard[n])
	}
	for _, key := range []string{"fields", "cbor_fields"} {
		b.expectFields(got[0], e[key])
	}
	var absent []string
	_ = json.Unmarshal(e["absent_fields"], &absent) // none unless there are
	for _, key := range absent {
		if v, there := got[0].fields[key]; there {
			b.t.Errorf("step %d: %s is %v", n, key, v)
		}
	}
	if e["block_numbers"] != nil {
		b.expectBlocks(got, e)
	}
}

// plain makes numbers of JSON and CBOR alike.
func plain(v any) any {
	raw, err := json.Marshal(textual(v))
	var out any
	if err != nil || json.Unmarshal(raw, &out) != nil {
		return v
	}
	return out
}

// textual gives maps of CBOR keys that JSON can write.
func textual(v any) any {
	switch v := v.(type) {
	case map[any]any:
		out := map[string]any{}
		for k, e := range v {
			out[fmt.Sprint(k)] = textual(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = textual(e)
		}
		return out
	}
	return v
}

func (b *streamBed) expectFields(m heard, raw json.RawMessage) {
	b.t.Helper()
	var want map[string]any
	_ = json.Unmarshal(raw, &want) // none unless there are
	for key, value := range want {
		got := plain(m.fields[key])
		if text, ok := got.(string); value == "@nonempty" && ok && text != "" {
			continue
		}
		if !reflect.DeepEqual(got, value) {
			b.t.Errorf("%s: %s is %v, want %v", m.topic, key, got, value)
		}
	}
}

func (b *streamBed) expectBlocks(got []heard, e map[string]json.RawMessage) {
	b.t.Helper()
	var numbers []int
	var messages []map[string]any
	if json.Unmarshal(e["block_numbers"], &numbers) != nil || e["messages"] != nil && json.Unmarshal(e["messages"], &messages) != nil {
		b.t.Fatalf("not understood: %v", e)
	}
	var came []int
	for _, m := range got {
		came = append(came, int(plain(m.fields["i"]).(float64)))
	}
	if !slices.Equal(came, numbers) {
		b.t.Fatalf("the blocks %v came, want %v", came, numbers)
	}
	for i, want := range messages {
		sum := sha256.Sum256(got[i].block)
		got[i].fields["p_sha256"] = hex.EncodeToString(sum[:])
		for key, value := range want {
			if v := plain(got[i].fields[key]); !reflect.DeepEqual(v, value) {
				b.t.Errorf("block %d: %s is %v, want %v", numbers[i], key, v, value)
			}
		}
		if text := strings.Contains(unquoted(e["p_encoding"]), "base64"); text != got[i].isText {
			b.t.Errorf("block %d: a text %v, want %v", numbers[i], got[i].isText, text)
		}
	}
}
