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
	order list.List // of net.Conn
	at    map[net.Conn]*list.Element
}

func (u *unfinished) add(raw net.Conn) {
	if u.at == nil {
		u.at = map[net.Conn]*list.Element{}
	}
	u.at[raw] = u.order.PushBack(raw)
}

func (u *unfinished) remove(raw net.Conn) {
	if e := u.at[raw]; e != nil {
		u.order.Remove(e)
		delete(u.at, raw)
	}
}

// oldest is the one that came first, nil when there are not more than most.
func (u *unfinished) oldest(most int) net.Conn {
	if u.order.Len() <= most {
		return nil
	}
	return u.order.Front().Value.(net.Conn)
}

// enter counts a socket, unless there are too many: as many as connections are
// allowed and a tenth more, so that those above the limit can still be told so.
//
// Of sockets that have not finished their CONNECT only limits.unfinished may be
// open. Above that the oldest is closed: a device needs a moment for its
// CONNECT, so that somebody who opens sockets and says nothing, or little by
// little, pushes out his own. A bound for each address would do less for more:
// behind one address there may be a whole site.
func (l *listener) enter(raw net.Conn) bool {
	limits := l.settings.Load().Limits
	if l.broker.sockets.Add(1) > int64(l.broker.memory.Sockets) {
		l.broker.sockets.Add(-1)
		l.refuse(raw, "socket-count", "a socket was refused: broker.sockets are open", nil)
		return false
	}
	l.mu.Lock()
	room := len(l.raws) < limits.Connections+limits.Connections/10+16
	taken := room && !l.stopped
	var late net.Conn
	var slow ender
	if taken {
		l.raws[raw] = nil
		l.early.add(raw)
		l.active.Add(1)
		if late = l.early.oldest(limits.Unfinished); late != nil {
			l.early.remove(late)
			slow = l.raws[late]
		}
	}
	l.mu.Unlock()
	if !taken {
		l.broker.sockets.Add(-1)
	}
	if !room {
		l.refuse(raw, "socket-count", "a socket was refused", nil)
	}
	switch {
	case slow != nil:
		slow.close(cause{reason: "unfinished-count"})
	case late != nil: // in its handshake
		l.refuse(late, "unfinished-count", "a socket without a CONNECT made room for a newer one", nil)
		_ = late.Close()
	}
	return taken
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
		if c, ok := e.(*client); ok && now.Sub(c.since) >= c.profile.webSocketLifetime {
			old = append(old, c)
		}
	}
	l.mu.Unlock()
	for _, c := range old {
		c.close(cause{reason: "websocket-expired", code: 0x98}) // B166: the will is published
	}
}
