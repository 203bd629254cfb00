package shape

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// head is what several messages become as one: the first one's id and time of
// acceptance, the most hops and the highest QoS of all, and the expiry of the one
// that lives longest, if all of them expire.
type head struct {
	first    *item
	device   string
	thing    string
	hops     uint8
	qos      byte
	immortal bool
	end      time.Duration
	overhead int // of the message around the payload
}

// add takes one more message in. It reports whether the size of what is around
// the payload may be another now.
func (h *head) add(it *item) (changed bool) {
	if h.first == nil {
		*h = head{first: it, device: it.rec.Device, thing: it.rec.Thing, hops: it.rec.Hops, qos: it.to.QoS, immortal: !it.rec.HasExpiry, end: endOf(it.rec)}
		return true
	}
	if it.rec.Device != h.device && h.device != several {
		h.device, h.thing, changed = several, "", true
	}
	if it.rec.Hops > h.hops {
		h.hops, changed = it.rec.Hops, true
	}
	h.qos = max(h.qos, it.to.QoS)
	if it.rec.HasExpiry {
		h.end = max(h.end, endOf(it.rec))
	} else {
		h.immortal = true
	}
	return changed
}

// record is the message without a payload.
func (h *head) record() *bridge.Record {
	r := &bridge.Record{Origin: h.first.rec.Origin}
	r.Topic, r.QoS = h.first.rec.Topic, h.qos
	r.Device, r.Thing, r.Hops = h.device, h.thing, h.hops
	if !h.immortal {
		r.HasExpiry, r.Expiry = true, uint32((h.end-r.Age)/time.Second)
	}
	return r
}
