package localbroker

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// QoS 2 from a device, which profile mqtt has: PUBLISH, PUBREC, PUBREL, PUBCOMP.
// The packet id of a PUBLISH that was accepted is remembered until its PUBREL,
// so that the same PUBLISH, sent again, is not taken for another one. The ids
// of a session that is kept are on the shelf: put there in one batch with the
// message, and gone for good before PUBCOMP, after which the device may use the
// id for another message.

// receptions is the packet ids of a session's QoS 2 PUBLISHes. There are never
// more than packet ids.
type receptions struct {
	mu  sync.Mutex
	ids map[uint16]*reception
}

// reception is one of them.
type reception struct {
	decided chan struct{} // closed once the walk has had its say; nil: long ago
	kept    bool          // accepted
}

// claim takes a packet id for a new PUBLISH. It is known when an earlier PUBLISH
// of it was accepted and not released; one that is still being decided on, of
// this connection or the last, is waited for, until gone.
func (r *receptions) claim(id uint16, gone <-chan struct{}) (known bool) {
	for {
		r.mu.Lock()
		e := r.ids[id]
		if e == nil {
			r.putLocked(id, &reception{decided: make(chan struct{})})
		}
		r.mu.Unlock()
		if e == nil {
			return false
		}
		if e.decided == nil {
			return true
		}
		select {
		case <-e.decided:
			if e.kept {
				return true
			}
		case <-gone:
			return true // nothing is read or answered any more
		}
	}
}

func (r *receptions) putLocked(id uint16, e *reception) {
	if r.ids == nil {
		r.ids = map[uint16]*reception{}
	}
	r.ids[id] = e
}

// decide notes what became of a claimed PUBLISH.
func (r *receptions) decide(id uint16, accepted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.ids[id]
	if e == nil || e.decided == nil {
		return
	}
	if e.kept = accepted; accepted {
		r.ids[id] = &reception{kept: true}
	} else {
		delete(r.ids, id)
	}
	close(e.decided)
}

// restore takes an id that an earlier start has accepted.
func (r *receptions) restore(id uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.putLocked(id, &reception{kept: true})
}

// find returns what is remembered of an id, nil if nothing is.
func (r *receptions) find(id uint16) *reception {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.ids[id]; e != nil && e.kept {
		return e
	}
	return nil
}

// release forgets an id, unless it is another PUBLISH's by now.
func (r *receptions) release(id uint16, e *reception) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids[id] == e {
		delete(r.ids, id)
	}
}

func receptionKey(session uint64, id uint16) string {
	return string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, session), id))
}

// extend puts what the broker keeps of a PUBLISH into the batch of the message,
// its packet id included.
func (r *receipt) extend(batch *bridge.Batch) {
	r.parcel.extend(batch)
	if s := r.client.session; r.QoS == 2 && s.keep != nil {
		batch.Put(shelfReceived, receptionKey(s.serial, r.id), []byte{codecVersion})
	}
}

// decided is called when a QoS 2 receipt leaves the intake, whatever the answer.
// It reports whether the device now owes a PUBREL.
func (r *receipt) decided() bool {
	if errors.Is(r.err, errRepeated) {
		return true
	}
	r.client.session.received.decide(r.id, r.err == nil)
	return r.err == nil
}

// released takes a PUBREL. Receive Maximum counts until then, that is until
// PUBCOMP.
func (c *client) released(id uint16) {
	c.intake.released(id)
	s := c.session
	e := s.received.find(id)
	if e == nil { // PUBCOMP was lost with a connection: 0x92 would be right, but clients take it for a failure
		_, _ = c.wire.Write(encodeStep(packets.Pubcomp, id))
		return
	}
	forgotten := func() {
		s.received.release(id, e)
		_, _ = c.wire.Write(encodeStep(packets.Pubcomp, id))
	}
	if s.keep == nil {
		forgotten()
		return
	}
	var batch bridge.Batch
	batch.Put(shelfReceived, receptionKey(s.serial, id), nil)
	c.broker.store.Commit(&batch, func(_ bridge.Seq, err error) {
		if err != nil { // PUBCOMP would promise that it is forgotten
			time.AfterFunc(retryRelease, func() { c.guard(func() { c.releasedAgain(id) }) })
			return
		}
		c.broker.courier.do(forgotten)
	})
}

// releasedAgain tries once more, if the connection is still there.
func (c *client) releasedAgain(id uint16) {
	select {
	case <-c.wire.done:
	default:
		c.released(id)
	}
}

// encodeStep makes a packet of the QoS 2 handshake.
func encodeStep(kind byte, id uint16) []byte { return appendStep(nil, kind, id, 0) }

// appendStep appends one; a code other than 0 is for v5 only.
func appendStep(b []byte, kind byte, id uint16, code byte) []byte {
	first := kind << 4
	if kind == packets.Pubrel {
		first |= 2 // [MQTT-3.6.1-1]
	}
	if code == 0 {
		return append(b, first, 2, byte(id>>8), byte(id))
	}
	return append(b, first, 3, byte(id>>8), byte(id), code)
}

// ack appends the answer to an acknowledged PUBLISH: PUBACK or PUBREC.
func (r *receipt) ack(b []byte, code byte) []byte {
	kind := packets.Puback
	if r.QoS == 2 {
		kind = packets.Pubrec
	}
	return appendStep(b, kind, r.id, code)
}

// forgetReceived forgets on the shelf what a session that has ended remembered.
func (b *Broker) forgetReceived(serial uint64) {
	var keys []string
	err := b.store.Keys(shelfReceived, bodyKey(serial), func(key string) bool {
		keys = append(keys, key)
		return true
	})
	if err != nil { // the next start finds what is left without a session
		b.store.damaged("packet ids of a session that has ended", err)
	}
	if len(keys) > 0 {
		b.store.Forget(shelfReceived, keys...)
	}
}

// restoreReceived gives the sessions their packet ids back.
func (b *Broker) restoreReceived() error {
	sessions := map[uint64]*session{}
	for _, s := range b.sessions.byID {
		sessions[s.serial] = s
	}
	var gone []string
	err := b.store.Keys(shelfReceived, "", func(key string) bool {
		s := (*session)(nil)
		if len(key) == 10 {
			s = sessions[binary.BigEndian.Uint64([]byte(key))]
		}
		if s == nil {
			gone = append(gone, key)
			return true
		}
		s.received.restore(binary.BigEndian.Uint16([]byte(key[8:])))
		return true
	})
	if len(gone) > 0 {
		b.store.Forget(shelfReceived, gone...)
	}
	return err
}
