package https

import "time"

// certificateCheck is how often a link looks at its certificate's files, and so how
// soon a new one is taken up.
const certificateCheck = 10 * time.Second

// watch looks at the files of the client certificate until the link ends. A connection
// under load is never idle, and would keep the old one for as long as the server lets
// it: requests that begin when there is a new one go by new connections, those that are
// under way end on theirs.
func (l *link) watch() {
	tick := time.NewTicker(l.u.look)
	defer tick.Stop()
	tell := func(trouble string) {
		l.u.hooks.Certificate("uplink-certificate", l.u.o.Endpoint, l.u.o.TLS.Cert, l.u.cert.Load(), trouble, time.Now())
	}
	tell("")
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		case <-l.refresh:
		}
		fresh, _, trouble := l.files.Look(time.Now())
		if fresh {
			l.files = l.u.o.TLS.Files()
			l.forgetFirst()
			old := l.client.Swap(l.newClient())
			old.CloseIdleConnections() // and those under way, when they become it
			l.u.log.Info("there is a new client certificate: new requests go by connections that are made with it", "endpoint", l.u.o.Endpoint)
		}
		tell(trouble)
	}
}

// forgetFirst closes the connection of Connect, if nothing has used it.
func (l *link) forgetFirst() {
	l.mu.Lock()
	first := l.first
	l.first = nil
	l.mu.Unlock()
	if first != nil {
		_ = first.Close()
	}
}
