package localbroker

import (
	"container/list"
	"net"
	"time"
)

// unfinished is the sockets of a listener that have not finished their CONNECT,
// in the order in which they came. The zero value is empty; it is guarded by
// its listener.
type unfinished struct {
	order list.List // of early
	at    map[net.Conn]*list.Element
}

// early is one of them.
type early struct {
	raw   net.Conn
	since time.Time
}

func (u *unfinished) add(raw net.Conn, now time.Time) {
	if u.at == nil {
		u.at = map[net.Conn]*list.Element{}
	}
	u.at[raw] = u.order.PushBack(early{raw, now})
}

func (u *unfinished) remove(raw net.Conn) {
	if e := u.at[raw]; e != nil {
		u.order.Remove(e)
		delete(u.at, raw)
	}
}

// pop removes the one that came first, if it came before a time.
func (u *unfinished) pop(before time.Time) net.Conn {
	e := u.order.Front()
	if e == nil || !e.Value.(early).since.Before(before) {
		return nil
	}
	raw := e.Value.(early).raw
	u.remove(raw)
	return raw
}

// enter counts a socket, unless there are too many: as many as connections are
// allowed and a tenth more, so that those above the limit can still be told so.
//
// Sockets that have not finished their CONNECT make room for newer ones, the
// oldest first: when there is no other, and above limits.unfinished after half
// of their time. A device needs a moment, so that somebody who opens sockets and
// says nothing, or little by little, pushes out his own; many devices that come
// at once do not push out each other. A bound for each address would do less for
// more: behind one there may be a whole site.
func (l *listener) enter(raw net.Conn) bool {
	limits, now := l.settings.Load().Limits, l.broker.now()
	most := limits.Connections + limits.Connections/10 + 16
	crowded := l.broker.opened() > int64(l.broker.memory.Sockets)
	var late []net.Conn
	l.mu.Lock()
	if crowded || len(l.raws) >= most {
		if first := l.early.pop(now.Add(time.Nanosecond)); first != nil && len(l.raws) < 2*most { // what is closed needs a moment to leave
			late = append(late, first)
		}
	}
	room := !crowded && len(l.raws) < most || len(late) > 0
	taken := room && !l.stopped
	if taken {
		for l.early.order.Len() >= limits.Unfinished {
			old := l.early.pop(now.Add(-limits.ConnectTimeout / 2))
			if old == nil {
				break
			}
			late = append(late, old)
		}
		l.raws[raw] = nil
		l.early.add(raw, now)
		l.active.Add(1)
	}
	slow := make([]ender, len(late))
	for i, old := range late {
		slow[i] = l.raws[old]
	}
	l.mu.Unlock()
	if !taken {
		l.broker.sockets.Add(-1)
	}
	if !room {
		l.refuse(raw, "socket-count", "a socket was refused", nil)
	}
	for i, old := range late {
		l.makeRoom(old, slow[i])
	}
	return taken
}

// makeRoom closes a socket that has not finished its CONNECT; c is nil while it
// is in its handshake.
func (l *listener) makeRoom(raw net.Conn, c ender) {
	if c != nil {
		c.close(cause{reason: "unfinished-count"})
		return
	}
	l.refuse(raw, "unfinished-count", "a socket without a CONNECT made room for a newer one", nil)
	_ = raw.Close()
}

// full reports whether the listener has its connections already, those that
// have not finished their CONNECT and raw itself aside.
func (l *listener) full(raw net.Conn, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.raws) - l.early.order.Len()
	if l.early.at[raw] == nil {
		n-- // it has finished before: HTTP's next request
	}
	return n >= most
}

// finished tells that a socket's CONNECT has been accepted.
func (l *listener) finished(raw net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.early.remove(raw)
}

// endWebSockets closes the WebSocket connections that have reached their age
// (B09, Q42).
func (b *Broker) endWebSockets(now time.Time) {
	for _, l := range b.listeners {
		if t := l.settings.Load().Type; t == typeWS || t == typeWSS {
			l.endOlder(now)
		}
	}
}

func (l *listener) endOlder(now time.Time) {
	l.mu.Lock()
	var old []*client
	for _, e := range l.raws {
		if c, ok := e.(*client); ok && c.wire.welcomed() && now.Sub(c.since) >= c.profile.webSocketLifetime {
			old = append(old, c)
		}
	}
	l.mu.Unlock()
	for _, c := range old {
		c.close(cause{reason: "websocket-expired", code: 0x98}) // B166: the will is published
	}
}
