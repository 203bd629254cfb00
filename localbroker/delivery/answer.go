package delivery

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
)

// describedFile is a file as a description has it.
type describedFile struct {
	File int   `json:"f" cbor:"f"`
	Size int64 `json:"z" cbor:"z"`
}

// description is the answer to DescribeStream.
type description struct {
	Token       string          `json:"c,omitempty" cbor:"c,omitempty"`
	Version     int             `json:"s" cbor:"s"`
	Description string          `json:"d" cbor:"d"`
	Files       []describedFile `json:"r" cbor:"r"`
}

func describe(s *Stream, token string) description {
	d := description{Token: token, Version: s.Version, Description: s.Description, Files: []describedFile{}}
	for _, f := range s.Files {
		d.Files = append(d.Files, describedFile{f.ID, f.Size})
	}
	return d
}

// block is a part of a file on the wire.
type block struct {
	Token   string `cbor:"c,omitempty"`
	File    int    `cbor:"f"`
	Length  int    `cbor:"l"` // of this payload: devices refuse a last block that says otherwise (F62)
	Number  int    `cbor:"i"`
	Payload []byte `cbor:"p"`
}

func (b *block) payload(format Format) []byte {
	if format == CBOR {
		return marshal(CBOR, b)
	}
	out := make([]byte, 0, dataSize(JSON, len(b.Token), len(b.Payload)))
	out = append(out, '{')
	if b.Token != "" {
		token, _ := json.Marshal(b.Token) // a text always can be
		out = append(append(append(out, `"c":`...), token...), ',')
	}
	out = strconv.AppendInt(append(out, `"f":`...), int64(b.File), 10)
	out = strconv.AppendInt(append(out, `,"l":`...), int64(b.Length), 10)
	out = strconv.AppendInt(append(out, `,"i":`...), int64(b.Number), 10)
	out = append(out, `,"p":"`...)
	out = base64.StdEncoding.AppendEncode(out, b.Payload)
	return append(out, `"}`...)
}

// dataSize is the most bytes that the message of a block has, in either format.
func dataSize(format Format, token, length int) int {
	const fields = 64 // names, numbers and punctuation
	if format == JSON {
		return fields + 6*token + base64.StdEncoding.EncodedLen(length)
	}
	return fields + token + length
}

// packetSize is the most bytes of an MQTT packet with such a message.
func packetSize(t topic, q *request) int {
	const header = 16 // fixed header, lengths, packet id, properties
	return header + len(t.with(verbData)) + dataSize(t.format, len(q.token), q.block)
}
