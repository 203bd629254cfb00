package bridge

import (
	"encoding/hex"
	"slices"
	"time"
)

// Behind says whose word about the origin of a message is taken: gateways behind
// this one, by the names of their things or the fingerprints of their certificates.
type Behind struct{ Gateways []string }

// trusts reports whether p is such a gateway. Only a certificate proves it: a client
// id, and so the thing of that name, can be had by whoever asks for it where the
// login is another.
func (b Behind) trusts(p *Principal) bool {
	if p.CertificateID == "" || p.User != p.CertificateID || p.ListenerPolicies != nil {
		return false
	}
	return slices.Contains(b.Gateways, p.CertificateID) || p.ThingAttached && p.Thing.Name != "" && slices.Contains(b.Gateways, p.Thing.Name)
}

// The longest names that a device or a thing may have (Q01).
const maxName = 128

// adopt takes the origin that a gateway behind this one has given the message, as
// [Outgoing] writes it: the device that it came from first, and when it was accepted
// there. Our own clock still decides about order and age. What is not complete, or
// not what a gateway writes, is not taken, and the gateway stays the origin.
func (o *Origin) adopt(m *Message) {
	device, _ := m.UserValue(PropDevice)
	thing, _ := m.UserValue(PropThing)
	id, _ := m.UserValue(PropID)
	accepted, _ := m.UserValue(PropAccepted)
	quality, _ := m.UserValue(PropClock)
	wall, err := time.Parse(AcceptedLayout, accepted)
	first := Origin{Device: device, Thing: thing, Instant: o.Instant, Hops: o.Hops}
	first.Wall, first.Synced = wall, quality == Instant{Synced: true}.Quality()
	n, bad := hex.Decode(first.ID[:], []byte(id[:min(len(id), 2*len(first.ID))]))
	switch {
	case err != nil, bad != nil, n != len(first.ID), id != first.ID.String():
	case !time.Unix(0, wall.UnixNano()).Equal(wall): // a year that the spool cannot keep
	case device == "", len(device) > maxName, len(thing) > maxName, quality != first.Quality():
	default:
		*o = first
	}
}
