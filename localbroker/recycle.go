package localbroker

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// bodies are the bodies of large packets that are nobody's any more. A device that
// sends a file would have as much memory cleared and collected as the file has
// bytes.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// recycledBody is a body of n bytes from an earlier packet, nil when there is none.
// Only a device whose last large packet gave its own back is lent one, and not one
// that is much too large: this packet may keep it.
func (in *inbound) recycledBody(n int) []byte {
	if !in.recycles || n <= lentBuffer {
		return nil
	}
	in.recycles = false
	b := *bodies.Get().(*[]byte)
	if cap(b) < n || cap(b) > 2*n {
		return nil
	}
	return b[:n]
}

// recycle takes the body of the packet that was read last: nothing of the packet
// refers to it any more.
func (in *inbound) recycle() {
	if b := in.last; cap(b) > lentBuffer {
		bodies.Put(&b)
		in.recycles = true
	}
	in.last = nil
}

// detach copies what a PUBLISH keeps of its body but the payload.
func detach(pk *packets.Packet) {
	p := &pk.Properties
	pk.TopicName = strings.Clone(pk.TopicName)
	p.ContentType, p.ResponseTopic = strings.Clone(p.ContentType), strings.Clone(p.ResponseTopic)
	p.CorrelationData = bytes.Clone(p.CorrelationData)
	p.User = slices.Clone(p.User)
	for i, u := range p.User {
		p.User[i] = packets.UserProperty{Key: strings.Clone(u.Key), Val: strings.Clone(u.Val)}
	}
}
