package bridge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode"
)

// FilePath takes messages that are too large for their upstream as files.
type FilePath interface {
	// Hand makes a file this gateway's to bring to its target, durably: when it
	// returns nil the giver may forget the content. It may be called again with the
	// same file, also after a crash, and there is one file all the same: its client
	// and file id say which. The URI is where the file is going to be, empty when
	// nobody can tell before it is there.
	//
	// An error says with [OfFile] that it will be the same however often it is
	// tried; after any other the caller tries again.
	Hand(ctx context.Context, f *File) (uri string, err error)
}

// OpDivert is the Op of what a FilePath fails with.
const OpDivert = "divert"

// TypeFile is the content type of a [Pointer].
const TypeFile = "application/x-ebb-file"

// Pointer is the message that goes up in place of one whose payload went as a file.
type Pointer struct {
	Topic    string `json:"topic"`     // as the device published it
	ClientID string `json:"client_id"` // with FileID the name of the transfer
	FileID   string `json:"file_id"`
	Name     string `json:"name"`
	URI      string `json:"uri,omitempty"` // empty: not known when the message went
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`

	ID          string     `json:"id"` // of the message
	Device      string     `json:"device"`
	Thing       string     `json:"thing,omitempty"`
	Accepted    string     `json:"accepted"`
	Clock       string     `json:"clock"`
	ContentType string     `json:"content_type,omitempty"`     // of the file
	Encoding    string     `json:"content_encoding,omitempty"` // gzip or zstd, when the route compresses
	User        UserValues `json:"user_properties,omitempty"`  // the device's own; of the file's user_data only: a pointer has them as properties
}

// propEncoding is the user property by which a route's compression is told.
const propEncoding = "content-encoding"

// longestName bounds the name of a file that is made of a topic.
const longestName = 96

// diversion is a message on its way to become a file.
type diversion struct {
	*Product
	file    File
	pointer Pointer
}

// divert makes the file of a product, of the route that queue is of. All of it
// follows from the message: who does it again makes the same file.
func divert(p *Product, queue string) *diversion {
	r := p.Records[0]
	id, accepted := r.texts()
	sum := sha256.Sum256(r.Payload)
	shared, _, _ := OwnedBy(queue)
	d := &diversion{Product: p, pointer: Pointer{
		Topic: r.Topic, ClientID: clientOf(r.Device), FileID: shared[strings.LastIndexByte(shared, '/')+1:] + "-" + id, Name: nameOf(r.Topic) + "-" + id,
		Size: int64(len(r.Payload)), SHA256: hex.EncodeToString(sum[:]),
		ID: id, Device: r.Device, Thing: r.Thing, Accepted: accepted, Clock: r.Quality(), ContentType: r.ContentType,
	}}
	d.pointer.Encoding, _ = r.UserValue(propEncoding)
	d.file = File{
		ClientID: d.pointer.ClientID, FileID: d.pointer.FileID, Name: d.pointer.Name, Size: d.pointer.Size, SHA256: sum,
		Meta: d.pointer.meta(UserValuesOf(DeviceProperties(r.User))), Content: bytes.NewReader(r.Payload),
	}
	return d
}

// meta is what goes with the file: all that is known of the message. Properties that
// are too many for it stay with the pointer alone.
func (p Pointer) meta(user UserValues) []byte {
	const most = 12 << 10 // of the 16 KiB that file transfer takes
	p.User = user
	out := encodeJSON(struct {
		Name     string  `json:"name"`
		Size     int64   `json:"size"`
		Checksum string  `json:"checksum"`
		UserData Pointer `json:"user_data"`
	}{p.Name, p.Size, p.SHA256, p})
	if len(out) > most && len(user) > 0 {
		return p.meta(nil)
	}
	return out
}

// point puts the pointer in the place of the payload.
func (d *diversion) point(uri string) {
	r := *d.Records[0]
	d.pointer.URI = uri
	r.Payload, r.ContentType, r.PayloadFormat = encodeJSON(d.pointer), TypeFile, 1
	if d.pointer.Encoding != "" { // it is of the file, and the pointer is plain
		var user []UserProperty
		for _, u := range r.User {
			if u.Key != propEncoding {
				user = append(user, u)
			}
		}
		r.User = user
	}
	d.Records = []*Record{&r}
}

// clientOf is the client id under which a device's messages are files. One that no
// folder can be called by is hashed.
func clientOf(device string) string {
	const longest = 255
	if len(EscapeID(device)) <= longest {
		return cmp.Or(device, "(unknown)")
	}
	sum := sha256.Sum256([]byte(device))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// nameOf makes a file's name of a topic: letters, digits and a few signs stay.
func nameOf(topic string) string {
	var b strings.Builder
	for _, r := range topic {
		switch {
		case r == unicode.ReplacementChar, !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.=", r):
			r = '_'
		}
		if b.Len()+4 > longestName {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimLeft(b.String(), ".")
}

func encodeJSON(v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // a '<' would cost six bytes of the bill
	if err := enc.Encode(v); err != nil {
		panic("bridge: pointer: " + err.Error()) // texts and numbers
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
