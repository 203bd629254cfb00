package scenario

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// billRecorder stands between a gateway and its cloud and counts what AWS would
// meter of what passes, by arithmetic of its own: whoever wrote the gateway's
// meter did not write this one twice.
type billRecorder struct {
	Addr   string
	target string
	listen net.Listener
	all    sync.WaitGroup

	mu     sync.Mutex
	units  map[string]int64 // by what was metered
	bytes  int64            // that were handed on
	passes int              // directions of connections that are open
	conns  map[net.Conn]bool
	closed bool
}

func newBillRecorder(t *testing.T, target string) *billRecorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &billRecorder{Addr: l.Addr().String(), target: target, listen: l, units: map[string]int64{}, conns: map[net.Conn]bool{}}
	r.all.Go(r.accept)
	t.Cleanup(func() {
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		_ = l.Close()
		r.cut()
		r.all.Wait()
	})
	return r
}

func (r *billRecorder) accept() {
	for {
		in, err := r.listen.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.target)
		r.mu.Lock()
		refuse := err != nil || r.closed
		if !refuse {
			r.conns[in], r.conns[out] = true, true
		}
		r.mu.Unlock()
		if refuse {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		r.all.Go(func() { r.pass(in, out, true) })
		r.all.Go(func() { r.pass(out, in, false) })
	}
}

// noted counts the bytes that are handed on.
type noted struct {
	net.Conn
	r *billRecorder
}

func (n noted) Write(p []byte) (int, error) {
	n.r.note(len(p), 0)
	return n.Conn.Write(p)
}

func (r *billRecorder) note(bytes, passes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += int64(bytes)
	r.passes += passes
}

// carried is the bytes that were handed on, both ways.
func (r *billRecorder) carried() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// settled waits until all connections are over.
func (r *billRecorder) settled(t *testing.T) {
	t.Helper()
	over := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.passes == 0
	}
	if !until(30*time.Second, over) {
		t.Fatal("a connection of the gateway is still open")
	}
}

// cut ends all connections, wherever they are.
func (r *billRecorder) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
	clear(r.conns)
}

// pass hands the bytes on, and counts the packets that passed whole.
func (r *billRecorder) pass(from, to net.Conn, up bool) {
	r.note(0, 1)
	defer r.note(0, -1)
	defer from.Close()
	defer to.Close()
	aliases := map[uint16]string{}
	whole := io.TeeReader(from, noted{to, r})
	for {
		p, err := packets.ReadPacket(whole)
		if err != nil {
			return
		}
		r.count(p, up, aliases)
	}
}

func (r *billRecorder) count(p *packets.ControlPacket, up bool, aliases map[uint16]string) {
	what, units := "", int64(0)
	switch c := p.Content.(type) {
	case *packets.Publish:
		what, units = "down", meteredUnits(publishSize(c, aliases))
		if up {
			what = "up"
			if c.Retain {
				units *= 2 // M10
			}
		}
	case *packets.Puback:
		if up { // M08; the cloud's own are free (M09)
			what, units = "down", 1
		}
	case *packets.Connect: // M04: without a will
		what, units = "link", 1
	case *packets.Subscribe: // M05
		size := 0
		for _, s := range c.Subscriptions {
			size += len(s.Topic)
		}
		what, units = "link", meteredUnits(size)
	}
	if units > 0 {
		r.mu.Lock()
		r.units[what] += units
		r.mu.Unlock()
	}
}

// publishSize is what is metered of a PUBLISH (M06), its alias resolved (M25).
func publishSize(p *packets.Publish, aliases map[uint16]string) int {
	if a := p.Properties.TopicAlias; a != nil {
		if p.Topic == "" {
			p.Topic = aliases[*a]
		}
		aliases[*a] = p.Topic
	}
	n := len(p.Topic) + len(p.Payload) + len(p.Properties.ContentType) + len(p.Properties.ResponseTopic) + len(p.Properties.CorrelationData)
	for _, u := range p.Properties.User {
		n += len(u.Key) + len(u.Value)
	}
	return n
}

func meteredUnits(size int) int64 {
	if size == 0 {
		return 1
	}
	return int64(size+5119) / 5120
}

// counted is what has passed, by direction.
func (r *billRecorder) counted(what string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.units[what]
}

// linked waits until both connections are there and the way down is subscribed:
// what comes before goes to nobody.
func (r *billRecorder) linked(t *testing.T) {
	t.Helper()
	if !until(30*time.Second, func() bool { return r.counted("link") >= 3 }) {
		t.Fatal("the gateway did not connect and subscribe")
	}
}
