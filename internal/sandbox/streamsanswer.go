package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/ebbgate/ebbgate/bridge"
)

// The protocol's numbers (§8.1).
const (
	streamLeastBlock = 256
	streamMostBlock  = 128 << 10
	streamAnswer     = 128 << 10
)

// streamAsk is one request about a stream, being answered.
type streamAsk struct {
	streams   *Streams
	who       *bridge.Principal
	thing, id string
	cbor      bool
	token     string
}

// streamRequest has all fields of both requests. A bitmap is base64 in JSON.
type streamRequest struct {
	Token   string `json:"c" cbor:"c"`
	Version *int   `json:"s" cbor:"s"`
	File    *int   `json:"f" cbor:"f"`
	Block   *int   `json:"l" cbor:"l"`
	Offset  int    `json:"o" cbor:"o"`
	Count   int    `json:"n" cbor:"n"`
	Bitmap  []byte `json:"b" cbor:"b"`
}

// read decodes a request, or rejects it.
func (a *streamAsk) read(payload []byte) (q streamRequest, ok bool) {
	decode, code := json.Unmarshal, "InvalidJson"
	if a.cbor {
		decode, code = cbor.Unmarshal, "InvalidCbor"
	}
	if err := decode(payload, &q); err != nil {
		a.reject(code, err.Error())
		return q, false
	}
	if len(q.Token) > 64 {
		a.reject("InvalidRequest", "the client token is too long")
		return q, false
	}
	a.token = q.Token
	return q, true
}

func (a *streamAsk) describe(payload []byte) {
	if _, ok := a.read(payload); !ok {
		return
	}
	s := a.streams.find(a.id)
	if s == nil {
		a.reject("ResourceNotFound", "there is no such stream")
		return
	}
	files := []map[string]int{}
	for _, id := range slices.Sorted(maps.Keys(s.files)) {
		files = append(files, map[string]int{"f": id, "z": len(s.files[id])})
	}
	a.send("description", map[string]any{"s": s.version, "d": s.description, "r": files})
}

func (a *streamAsk) get(payload []byte) {
	q, ok := a.read(payload)
	if !ok {
		return
	}
	if q.File == nil || q.Block == nil {
		a.reject("InvalidRequest", "f and l are required")
		return
	}
	for _, bound := range []struct {
		bad  bool
		code string
	}{
		{*q.Block < streamLeastBlock || *q.Block > streamMostBlock, "BlockSizeOutOfBounds"},
		{q.Offset < 0 || q.Offset > 98304, "OffsetOutOfBounds"},
		{q.Count < 0 || q.Count > 98304, "BlockCountLimitExceeded"},
		{len(q.Bitmap) > 12288, "BlockBitmapLimitExceeded"},
	} {
		if bound.bad {
			a.reject(bound.code, "out of bounds")
			return
		}
	}
	s := a.streams.find(a.id)
	switch {
	case s == nil:
		a.reject("ResourceNotFound", "there is no such stream")
		return
	case q.Version != nil && *q.Version != s.version:
		a.reject("VersionMismatch", fmt.Sprintf("the stream's version is %d", s.version))
		return
	}
	content, there := s.files[*q.File]
	if !there {
		a.reject("ResourceNotFound", "there is no such file")
		return
	}
	numbers := q.numbers()
	for _, n := range numbers {
		if n*(*q.Block) >= len(content) {
			a.reject("InvalidRequest", "data requested is out of the range of data available")
			return
		}
	}
	if len(numbers) == 0 {
		a.reject("InvalidRequest", "no block is chosen")
		return
	}
	for _, n := range numbers {
		from := n * (*q.Block)
		to := min(from+*q.Block, len(content))
		wire := a.send("data", map[string]any{"f": *q.File, "l": to - from, "i": n, "p": content[from:to]})
		a.streams.note(Asked{a.thing, a.id, s.version, *q.File, from, to, wire})
	}
}

// numbers are the blocks that are asked for, no more than an answer has.
func (q *streamRequest) numbers() (out []int) {
	most := streamAnswer / *q.Block
	if q.Count > 0 && q.Count < most {
		most = q.Count
	}
	if q.Bitmap == nil {
		for i := range most {
			out = append(out, q.Offset+i)
		}
		return out
	}
	for bit := 0; bit < 8*len(q.Bitmap) && len(out) < most; bit++ {
		if q.Bitmap[bit/8]>>(bit%8)&1 == 1 {
			out = append(out, q.Offset+bit)
		}
	}
	return out
}

// reject answers with AWS's two spellings.
func (a *streamAsk) reject(code, text string) {
	v := map[string]any{"o": code, "code": code, "m": text, "message": text}
	if a.token != "" {
		v["clientToken"] = a.token
	}
	a.send("rejected", v)
}

// send answers who asked, in the format of the question, and returns how large the
// message was.
func (a *streamAsk) send(kind string, v map[string]any) int {
	if a.token != "" {
		v["c"] = a.token
	}
	encode, format := json.Marshal, "json"
	if a.cbor {
		encode, format = cbor.Marshal, "cbor"
	}
	b, err := encode(v)
	if err != nil { // numbers, texts and bytes
		panic("sandbox: stream: " + err.Error())
	}
	topic := fmt.Sprintf("$aws/things/%s/streams/%s/%s/%s", a.thing, a.id, kind, format)
	a.streams.broker.Hand(a.who, &bridge.Message{Topic: topic, Payload: b, QoS: 1}, func(bridge.Result) {})
	return len(topic) + len(b)
}
