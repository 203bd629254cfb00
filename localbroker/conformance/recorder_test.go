package conformance

import (
	"slices"
	"sync"

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
	codes []byte         // of the last SUBACK
	pongs int
	bye   []uint16 // the code of the broker's DISCONNECT, when one came

	present bool // its session was there when it came
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
	case packets.Suback:
		r.codes = pk.ReasonCodes
	case packets.Pingresp:
		r.pongs++
	case packets.Disconnect:
		r.bye = []uint16{uint16(pk.ReasonCode)}
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

// granted is the code of the last filter.
func (r *recorder) granted() uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.codes) == 0 {
		r.tb.Fatal("no SUBACK has come")
	}
	return uint16(r.codes[len(r.codes)-1])
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

// forget forgets the acknowledgement of a packet id, which is used again, and the
// last SUBACK.
func (r *recorder) forget(id uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.acks, id)
	r.codes = nil
}

// ackedOrOver waits for the acknowledgement of a packet id, or the end of the
// connection: then there may be none.
func (r *recorder) ackedOrOver(id uint16) (pk packets.Packet, there bool) {
	r.tb.Helper()
	eventually(r.tb, "an acknowledgement, or the end", func() bool {
		over := r.over()
		r.mu.Lock()
		defer r.mu.Unlock()
		pk, there = r.acks[id]
		return there || over
	})
	return pk, there
}

// subacked are the codes of the last SUBACK.
func (r *recorder) subacked() (codes []uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.codes {
		codes = append(codes, uint16(c))
	}
	return codes
}

// goodbyes is the code of the broker's DISCONNECT, if it said one.
func (r *recorder) goodbyes() []uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bye
}
