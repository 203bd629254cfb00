package mqtt

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// script is a broker that does what a test tells it, packet by packet.
type script struct {
	addr string
	l    net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// broker is one connection to a script.
type broker struct {
	net.Conn
	t *testing.T
}

// serve runs play for each connection, one after the other for each that comes;
// the last play is for all further ones.
func serve(t *testing.T, plays ...func(b *broker)) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{addr: l.Addr().String(), l: l}
	s.wg.Go(func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			play := plays[min(i, len(plays)-1)]
			s.wg.Go(func() {
				defer c.Close()
				play(&broker{c, t})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// next reads a packet; nil at the end of the connection.
func (b *broker) next() *packets.ControlPacket {
	cp, err := packets.ReadPacket(b)
	if err != nil {
		return nil
	}
	return cp
}

// expect reads a packet that must be a T.
func expect[T packets.Packet](b *broker) T {
	cp := b.next()
	var none T
	if cp == nil {
		return none
	}
	p, ok := cp.Content.(T)
	if !ok {
		b.t.Errorf("the broker got %s, want %T", cp.PacketType(), none)
	}
	return p
}

// send writes a packet, through a buffer so that it is one write.
func (b *broker) send(p packets.Packet) {
	var buf bytes.Buffer
	_, _ = p.WriteTo(&buf)
	_, _ = b.Write(buf.Bytes())
}

// accept takes the CONNECT and answers with success and the properties.
func (b *broker) accept(props packets.Properties) *packets.Connect {
	c := expect[*packets.Connect](b)
	b.send(&packets.Connack{Properties: &props})
	return c
}

// answer acknowledges every PUBLISH with code until the connection ends.
func (b *broker) answer(code byte, reason string) {
	for {
		cp := b.next()
		if cp == nil {
			return
		}
		if p, ok := cp.Content.(*packets.Publish); ok && p.QoS == 1 {
			b.send(&packets.Puback{PacketID: p.PacketID, ReasonCode: code, Properties: &packets.Properties{ReasonString: reason}})
		}
	}
}

// drain reads until the connection ends.
func (b *broker) drain() { _, _ = io.Copy(io.Discard, b) }

func of[T any](v T) *T { return &v }
