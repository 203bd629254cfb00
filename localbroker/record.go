package localbroker

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// sessionRecord is what the shelf keeps of a session.
type sessionRecord struct {
	serial  uint64
	expiry  time.Duration
	expires time.Duration // age at which it ends; 0: it was connected
	owner   owner
	subs    []subscription // without the session
}

// owner is whom a session or a will belongs to, as far as a start cannot find
// it out by itself: the policy is asked again then.
type owner struct {
	clientID   string
	version    byte
	listener   string
	proof      string // how it proved who it is, see settings.proof
	user       string
	thing      string
	remote     string
	serverName string
	cert       []byte // DER, or empty
}

func ownerOf(p *bridge.Principal, version byte, may *authority) owner {
	o := owner{
		clientID: p.ClientID, version: version, listener: p.Listener, user: p.User, proof: may.proof(),
		thing: p.Thing.Name, serverName: p.ServerName,
	}
	if p.Remote.IsValid() {
		o.remote = p.Remote.String()
	}
	if p.Certificate != nil {
		o.cert = p.Certificate.Raw
	}
	return o
}

// principal is what is known of the owner before the policy has been asked.
func (o *owner) principal() *bridge.Principal {
	p := &bridge.Principal{
		ClientID: o.clientID, User: o.user, Listener: o.listener, ServerName: o.serverName,
		Thing: bridge.Thing{Name: o.thing}, Protocol: o.version,
	}
	p.Remote, _ = netip.ParseAddrPort(o.remote) // zero when it is empty
	return p
}

func appendOwner(b []byte, o *owner) []byte {
	b = append(b, o.version)
	b = appendText(b, o.listener)
	b = appendText(b, o.proof)
	b = appendText(b, o.user)
	b = appendText(b, o.thing)
	b = appendText(b, o.remote)
	b = appendText(b, o.serverName)
	return appendText(b, string(o.cert))
}

func (r *reader) owner(clientID string) owner {
	return owner{
		clientID: clientID, version: r.byte(), listener: r.text(), proof: r.text(), user: r.text(),
		thing: r.text(), remote: r.text(), serverName: r.text(), cert: r.bytes(),
	}
}

// The flags of a subscription.
const (
	subNoLocal = 1 << iota
	subAsRetained
)

func (s *sessionRecord) encode() []byte {
	b := make([]byte, 0, 96+len(s.owner.cert)+64*len(s.subs))
	b = append(b, codecVersion)
	b = binary.AppendUvarint(b, s.serial)
	b = binary.AppendUvarint(b, uint64(s.expiry))
	b = binary.AppendUvarint(b, uint64(s.expires))
	b = appendOwner(b, &s.owner)
	b = binary.AppendUvarint(b, uint64(len(s.subs)))
	for i := range s.subs {
		sub := &s.subs[i]
		var flags byte
		if sub.noLocal {
			flags |= subNoLocal
		}
		if sub.asRetained {
			flags |= subAsRetained
		}
		b = append(b, flags, sub.qos)
		b = binary.AppendUvarint(b, uint64(sub.identifier))
		b = appendText(b, sub.filter.text)
	}
	return b
}

func decodeSession(clientID string, b []byte) (*sessionRecord, error) {
	r := &reader{b: b}
	r.bad = r.byte() != codecVersion
	s := &sessionRecord{serial: r.number(), expiry: r.duration(), expires: r.duration(), owner: r.owner(clientID)}
	for range r.count() {
		flags := r.byte()
		s.subs = append(s.subs, subscription{
			noLocal: flags&subNoLocal != 0, asRetained: flags&subAsRetained != 0,
			qos: r.byte(), identifier: int(r.number()), filter: filter{text: r.text()},
		})
	}
	return s, r.err()
}

// recordLocked is the session as the shelf should have it.
func (s *session) recordLocked() []byte {
	r := sessionRecord{serial: s.serial, expiry: s.expiry, owner: ownerOf(s.who, s.version, s.may)}
	if s.client == nil {
		r.expires = max(s.expires, 1)
	}
	for _, sub := range s.subs {
		r.subs = append(r.subs, *sub)
	}
	return r.encode()
}

// saveLocked writes the session's record. The channel tells what became of it;
// until it is durable the sweep tries again. Records are written in the order of
// the changes, because the lock is held.
func (s *session) saveLocked() <-chan error { return s.commitLocked(&bridge.Batch{}, 0) }

// commitLocked is saveLocked with what batch holds already. For a session that
// is not kept it commits just that.
func (s *session) commitLocked(batch *bridge.Batch, ceiling uint64) <-chan error {
	if s.keep != nil {
		batch.Put(shelfSession, s.id, s.recordLocked())
		s.unsaved = false
	}
	done := make(chan error, 1)
	s.broker.store.Commit(batch, func(_ bridge.Seq, err error) {
		if err == nil {
			s.broker.store.confirm(ceiling)
		} else {
			go s.broker.guard(s.saveLater)
		}
		done <- err
	})
	return done
}

// saveLater leaves the record to the sweep.
func (s *session) saveLater() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = s.keep != nil && !s.ended
	if s.keep == nil {
		go s.broker.guard(func() { s.broker.sessions.forget(s.id) })
	}
}
