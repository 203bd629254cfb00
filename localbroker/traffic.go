package localbroker

import (
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"
)

// traffic counts what passes the sockets, since the start. Each count is one
// addition, whether anybody looks or not.
type traffic struct {
	packetsIn, packetsOut           atomic.Int64
	bytesIn, bytesOut               atomic.Int64
	publishesIn, publishesOut       atomic.Int64
	publishBytesIn, publishBytesOut atomic.Int64 // payloads
	connects, sockets               atomic.Int64
	expired                         atomic.Int64 // sessions that ended while nobody was connected
	most                            atomic.Int64 // devices connected at once
}

// connected counts a device that was let in; now is how many there are.
func (t *traffic) connected(now int64) {
	for {
		most := t.most.Load()
		if now <= most || t.most.CompareAndSwap(most, now) {
			return
		}
	}
}

// published counts a PUBLISH from a device.
func (t *traffic) published(payload int) {
	t.publishesIn.Add(1)
	t.publishBytesIn.Add(int64(payload))
}

// delivered counts the payload of a PUBLISH to a device.
func (t *traffic) delivered(payload int) { t.publishBytesOut.Add(int64(payload)) }

// wrote counts the packets in p, which are whole.
func (t *traffic) wrote(p []byte) {
	t.bytesOut.Add(int64(len(p)))
	all, publishes := int64(0), int64(0)
	for len(p) > 1 {
		all++
		if p[0]>>4 == packets.Publish {
			publishes++
		}
		n, digits := 0, lengthSize(p[1:])
		for i := range digits {
			n |= int(p[1+i]&0x7f) << (7 * i)
		}
		p = p[min(1+digits+n, len(p)):]
	}
	t.packetsOut.Add(all)
	if publishes > 0 {
		t.publishesOut.Add(publishes)
	}
}

// opened counts a socket, and says how many are open.
func (b *Broker) opened() int64 {
	b.traffic.sockets.Add(1)
	return b.sockets.Add(1)
}
