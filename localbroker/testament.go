package localbroker

import (
	"encoding/binary"
	"log/slog"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// testament is a will with whose it is, so that it can be published when the
// connection is gone, and the gateway that had it.
type testament struct {
	*will
	principal *bridge.Principal
	may       *authority
	version   byte          // of the protocol, for the shelf
	number    uint64        // of its place on the shelf
	session   uint64        // serial of its session
	due       time.Duration // age at which its delay is over; 0: its device is connected
}

// retryWill is when a will is tried again that could not be published for want
// of room.
const retryWill = 5 * time.Second

func (t *testament) key() string { return bodyKey(t.number) }

func (t *testament) encode() []byte {
	o := ownerOf(t.principal, t.version, t.may)
	b := []byte{codecVersion}
	b = binary.AppendUvarint(b, uint64(t.due))
	b = binary.AppendUvarint(b, uint64(t.delay))
	b = binary.AppendUvarint(b, t.session)
	b = appendText(b, o.clientID)
	b = appendOwner(b, &o)
	return appendMessage(b, &t.message, 0)
}

func (b *Broker) decodeTestament(key string, value []byte) (*testament, error) {
	r := &reader{b: value}
	r.bad = r.byte() != codecVersion || len(key) != 8
	t := &testament{will: &will{}, due: r.duration()}
	t.delay, t.session = r.duration(), r.number()
	o := r.owner(r.text())
	m, _ := r.message()
	if err := r.err(); err != nil {
		return nil, err
	}
	t.message, t.version, t.number = *m, o.version, binary.BigEndian.Uint64([]byte(key))
	t.principal = o.principal()
	t.may = b.authorityFor(o, t.principal)
	return t, nil
}

// testify puts the will of a new connection on the shelf.
func (c *client) testify(batch *bridge.Batch) (ceiling uint64) {
	if c.will == nil {
		return 0
	}
	t := &testament{will: c.will, principal: c.principal, may: c.may, version: c.version, session: c.session.serial}
	t.number, ceiling = c.broker.store.number(batch)
	batch.Put(shelfWill, t.key(), t.encode())
	c.testament = t
	return ceiling
}

// lastWill takes the will of a connection that has ended: it is to be published
// now, or nil. A delayed one waits with the session, which is locked.
func (c *client) lastWill(clean bool, s *session, now time.Duration) *testament {
	t := c.testament
	switch {
	case t == nil:
		return nil
	case clean || c.willRevoked.Load():
		c.broker.dropWill(t)
		return nil
	case t.delay == 0 || c.expiry == 0:
		return t
	}
	t.due = now + min(t.delay, c.expiry)
	s.will = t
	var batch bridge.Batch
	batch.Put(shelfWill, t.key(), t.encode())
	c.broker.store.Commit(&batch, nil) // when it fails, a crash begins the delay again
	return nil
}

// dropWill takes a will off the shelf that is not to be published any more.
func (b *Broker) dropWill(t *testament) {
	var batch bridge.Batch
	batch.Put(shelfWill, t.key(), nil)
	b.store.Commit(&batch, func(_ bridge.Seq, err error) {
		if err != nil { // the shelf takes no commits, but it always forgets
			go b.guard(func() { b.store.Forget(shelfWill, t.key()) })
		}
	})
}

// publish sends a will through the walk (B166), in one commit with its end on
// the shelf, so that it is sent once. One that finds no room is tried again.
func (b *Broker) publish(t *testament) { b.publishThen(t, func() {}) }

func (b *Broker) publishThen(t *testament, then func()) {
	refuse := func(err error) {
		b.drops.Count("will-refused", t.principal.ClientID, t.message.Topic)
		b.quiet.warn("will-refused", "a will was not published", slog.String("client", t.principal.ClientID), slog.String("error", err.Error()))
		b.dropWill(t)
		then()
	}
	if b.willCheck != willAtConnect {
		if err := t.allowed(t.may); err != nil {
			b.countPublish(err)
			refuse(err)
			return
		}
	}
	m := t.message
	p := &parcel{broker: b, from: t.principal.ClientID, msg: &m, expires: b.expiry(&m)} // B168: from now
	extend := func(batch *bridge.Batch) {
		p.extend(batch)
		batch.Put(shelfWill, t.key(), nil)
	}
	b.ingest.Authorized(t.principal, &m, extend, func(err error) {
		p.settle(err)
		switch {
		case err == nil:
			b.courier.do(func() { p.deliver(offer) })
			then()
		case lasting(err):
			go b.guard(func() { refuse(err) })
		default:
			b.wills.add(t, b.age()+retryWill)
			then()
		}
	})
}

// lasting reports whether trying again is pointless.
func lasting(err error) bool {
	switch bridge.KindOf(err) {
	case bridge.NotAuthorized, bridge.TopicInvalid, bridge.PayloadInvalid, bridge.TooLarge:
		return true
	default:
		return false
	}
}

// overdue is the wills that could not be published yet.
type overdue struct {
	mu   sync.Mutex
	list []*testament
	next time.Duration
}

func (o *overdue) add(t *testament, next time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, t)
	o.next = next
}

// take empties the list when its time has come.
func (o *overdue) take(now time.Duration) []*testament {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now < o.next {
		return nil
	}
	list := o.list
	o.list = nil
	return list
}

// restoreWills takes the wills of an earlier start: those of devices that were
// connected when it ended are due at once (B166), or begin their delay.
func (b *Broker) restoreWills() error {
	now := b.age()
	seen := map[string]bool{}
	err := b.store.Scan(shelfWill, "", func(key string, value []byte) bool {
		seen[key] = true
		t, err := b.decodeTestament(key, value)
		if err != nil {
			b.store.damaged("a will", err)
			b.store.Forget(shelfWill, key)
			return true
		}
		b.store.raise(t.number)
		s := b.sessions.byID[t.principal.ClientID]
		if s == nil || s.serial != t.session || t.delay == 0 {
			b.wills.add(t, 0)
			return true
		}
		if t.due == 0 {
			t.due = now + min(t.delay, s.expiry)
		}
		s.will = t
		return true
	})
	if err != nil {
		return err
	}
	return b.unreadable(shelfWill, "a will, number ", func(key string) bool { return seen[key] })
}

// willTimeout bounds how long a start waits for the wills of the last one.
const willTimeout = 10 * time.Second

// publishWills publishes the wills that are due, and waits until they are
// durable: nobody connects before.
func (b *Broker) publishWills() {
	var published sync.WaitGroup
	for _, t := range b.wills.take(b.age()) {
		published.Add(1)
		b.publishThen(t, sync.OnceFunc(published.Done))
	}
	done := make(chan struct{})
	go func() {
		published.Wait()
		close(done)
	}()
	timeout := time.NewTimer(willTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
}
