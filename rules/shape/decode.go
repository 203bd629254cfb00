package shape

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/ebbgate/ebbgate/bridge"
)

// Decoder undoes what the steps of a route have done, for whoever receives the
// messages: parts, compression, batches, envelopes. It is for one goroutine, and what it
// is given may be anything: it keeps to its bounds.
type Decoder struct {
	// Batch is how batches are recognised: Auto by their content type, and a JSON
	// array without one is a batch; else one of the formats, or None.
	Batch string
	// Most is how large a payload may become when it is undone; 0 means 64 MiB.
	Most int
	// Doubt is told of a message that begins as what is compressed does, and cannot be
	// undone: it is given out as it came, and may be damaged. nil: nobody is.
	Doubt func(why error)

	assemblies map[bridge.MessageID]*assembly
	waiting    int                // bytes of all of them
	lost       int                // of which parts were given up
	oldest     []bridge.MessageID // of the assemblies, in the order of their first part
	whole      []bridge.MessageID // the latest that were put together: parts may come twice
}

// Auto is a value of Decoder.Batch.
const Auto = "auto"

const defaultMost = 64 << 20

// Received is a message as it came.
type Received struct {
	Topic       string
	Payload     []byte
	ContentType string
	User        []bridge.UserProperty
}

// Decoded is a message as a device published it, as far as what came says: without
// an envelope that is its payload and the topic at the receiver.
type Decoded struct {
	Device      string `json:"device,omitempty"`
	Thing       string `json:"thing,omitempty"`
	ID          string `json:"id,omitempty"`
	Accepted    string `json:"accepted,omitempty"`
	Clock       string `json:"clock,omitempty"`
	Topic       string `json:"topic,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	Encoding    string `json:"encoding,omitempty"` // base64, when the payload is not JSON
	// User are the device's own user properties, by name.
	User    bridge.UserValues `json:"user_properties,omitempty"`
	Payload json.RawMessage   `json:"payload"`
}

// Decode undoes one message and gives out what it holds. A part gives out nothing
// before all of its message have come.
func (d *Decoder) Decode(m Received, out func(Decoded) error) error {
	if p, ok, err := parsePart(m.Payload); ok {
		if err != nil {
			return fmt.Errorf("topic %q: %w", m.Topic, err)
		}
		whole, err := d.assemble(m, p)
		if whole == nil {
			return err
		}
		m = *whole
	}
	payload, packed, err := d.decompress(m)
	if err != nil {
		return err
	}
	m.Payload = payload
	if packed { // ours, and undone
		m.User = slices.DeleteFunc(slices.Clone(m.User), func(u bridge.UserProperty) bool { return u.Key == PropEncoding })
	}
	format := d.format(m)
	if format == None {
		return out(opened(m, payload))
	}
	n := 0
	err = split(payload, format, func([]byte) error { n++; return nil })
	if err == nil && n == 0 { // no batch is empty: a device has sent this
		return out(opened(m, payload))
	}
	if err != nil {
		if d.Batch == Auto && m.ContentType == "" && !packed { // it only looked like one
			return out(opened(m, payload))
		}
		return fmt.Errorf("topic %q: not a batch of %s: %w", m.Topic, format, err)
	}
	m.ContentType = ""
	return split(payload, format, func(e []byte) error { return out(opened(m, e)) })
}

// decompress undoes the compression that the message names, or that its payload
// begins with: tools lose properties.
func (d *Decoder) decompress(m Received) (payload []byte, packed bool, err error) {
	name, _ := encodingOf(m.User)
	switch {
	case name != "" && name != Gzip && name != Zstd:
		return nil, false, fmt.Errorf("topic %q: unknown %s %q", m.Topic, PropEncoding, name)
	case name == Gzip, name == "" && bytes.HasPrefix(m.Payload, []byte{0x1f, 0x8b, 8}):
		payload, err = d.read(gzip.NewReader(bytes.NewReader(m.Payload)))
	case name == Zstd, name == "" && bytes.HasPrefix(m.Payload, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		r, zerr := zstd.NewReader(bytes.NewReader(m.Payload), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if zerr == nil {
			defer r.Close()
		}
		payload, err = d.read(r, zerr)
	default:
		return m.Payload, false, nil
	}
	switch {
	case err == nil:
		return payload, true, nil
	case name == "" && !errors.Is(err, errTooLarge):
		if d.Doubt != nil { // it only looked compressed, or it is damaged
			d.Doubt(fmt.Errorf("topic %q: it begins as what is compressed does, and cannot be decompressed: %w", m.Topic, err))
		}
		return m.Payload, false, nil
	default:
		return nil, false, fmt.Errorf("topic %q: cannot be decompressed: %w", m.Topic, err)
	}
}

// encodingOf is the compression that a message names.
func encodingOf(user []bridge.UserProperty) (name string, named bool) {
	p := bridge.Properties{User: user}
	return p.UserValue(PropEncoding)
}

var errTooLarge = errors.New("it becomes too large")

func (d *Decoder) most() int {
	if d.Most > 0 {
		return d.Most
	}
	return defaultMost
}

// read reads all that a decompressor gives, up to the bound.
func (d *Decoder) read(r io.Reader, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(d.most())+1))
	if err != nil {
		return nil, err
	}
	if len(out) > d.most() {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, d.most())
	}
	return out, nil
}

// format is how the messages stand in what came.
func (d *Decoder) format(m Received) string {
	if d.Batch != Auto {
		return d.Batch
	}
	switch m.ContentType {
	case typeNDJSON:
		return NDJSON
	case typeLengthPrefixed:
		return LengthPrefixed
	case typeJSON, "":
		if t := bytes.TrimLeft(m.Payload, " \t\r\n"); len(t) > 0 && t[0] == '[' {
			return JSON
		}
	}
	return None
}

// split undoes the framing of a batch, payload by payload: a list of them all would
// take many times the bytes of the batch.
func split(payload []byte, format string, each func(payload []byte) error) error {
	switch format {
	case JSON:
		return splitArray(payload, each)
	case NDJSON:
		n := 0
		for line := range bytes.Lines(payload) {
			n++
			line = bytes.TrimSpace(line)
			if !json.Valid(line) {
				return fmt.Errorf("line %d is not JSON", n)
			}
			if err := each(plain(line)); err != nil {
				return err
			}
		}
		return nil
	case LengthPrefixed:
		for i := 1; len(payload) > 0; i++ {
			n, used := binary.Uvarint(payload)
			if used <= 0 || n > uint64(len(payload)-used) {
				return fmt.Errorf("the length of message %d is wrong", i)
			}
			if err := each(payload[used : used+int(n)]); err != nil {
				return err
			}
			payload = payload[used+int(n):]
		}
		return nil
	}
	return errors.New("no such format")
}

// splitArray is split for a JSON array.
func splitArray(payload []byte, each func(payload []byte) error) error {
	dec := json.NewDecoder(bytes.NewReader(payload))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return cmp.Or(err, errors.New("it is no array"))
	}
	for dec.More() {
		var e json.RawMessage
		if err := dec.Decode(&e); err != nil {
			return err
		}
		if err := each(plain(e)); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the array")
	}
	return nil
}

// plain undoes what an element of a JSON batch is wrapped in, if it is.
func plain(element []byte) []byte {
	if payload, ok := unwrap(element); ok {
		return payload
	}
	return element
}

// opened takes a message out of its envelope, if it is in one.
func opened(m Received, payload []byte) Decoded {
	user := bridge.UserValuesOf(bridge.DeviceProperties(m.User))
	if d, ok := openEnvelope(payload); ok {
		if d.User == nil { // they travel beside a message that is alone
			d.User = user
		}
		return d
	}
	d := Decoded{Topic: m.Topic, ContentType: m.ContentType, User: user}
	for _, u := range m.User {
		switch u.Key {
		case bridge.PropDevice:
			d.Device = u.Value
		case bridge.PropThing:
			d.Thing = u.Value
		case bridge.PropID:
			d.ID = u.Value
		case bridge.PropAccepted:
			d.Accepted = u.Value
		case bridge.PropClock:
			d.Clock = u.Value
		}
	}
	d.set(payload)
	return d
}

// openEnvelope reads an envelope as [bridge.Envelope] makes it: an object with
// every key that it always has, and no other than it can have.
func openEnvelope(payload []byte) (d Decoded, ok bool) {
	if !names(payload, "accepted") {
		return d, false
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	if dec.Decode(&d) != nil || dec.More() {
		return d, false
	}
	if len(d.ID) != 2*len(bridge.MessageID{}) || d.Accepted == "" || d.Clock == "" || d.Topic == "" || d.Payload == nil {
		return d, false
	}
	if d.Encoding != "base64" {
		return d, d.Encoding == ""
	}
	var text string
	if json.Unmarshal(d.Payload, &text) != nil {
		return d, false
	}
	inner, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return d, false
	}
	d.Encoding = ""
	d.set(inner)
	return d, true
}

// set puts a payload in, as JSON when it is.
func (d *Decoded) set(payload []byte) {
	if json.Valid(payload) && utf8.Valid(payload) {
		d.Payload = bytes.Clone(payload)
		return
	}
	d.Encoding = "base64"
	d.Payload, _ = json.Marshal(base64.StdEncoding.EncodeToString(payload)) // a string
}
