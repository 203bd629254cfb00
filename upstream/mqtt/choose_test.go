package mqtt

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// town is a broker in memory that is reached by several addresses, each of which
// may be shut: then nobody answers.
type town struct {
	t     *testing.T
	all   sync.WaitGroup
	mu    sync.Mutex
	shut  map[string]bool
	mute  bool // acknowledges nothing
	live  map[string]net.Conn
	took  []string // address and topic
	hello []string // addresses of CONNECTs
	both  int      // CONNECTs while another connection lived
}

func (w *town) reach(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	shut := w.shut[address]
	w.mu.Unlock()
	if shut {
		<-ctx.Done()
		return nil, &upstream.UnansweredError{Address: address, Err: ctx.Err()}
	}
	ours, theirs := net.Pipe()
	w.all.Go(func() {
		defer theirs.Close()
		w.serve(address, &broker{theirs, w.t})
	})
	return ours, nil
}

func (w *town) serve(address string, b *broker) {
	cp := b.next()
	if cp == nil || cp.Type != packets.CONNECT {
		return // somebody looked whether it is open
	}
	b.send(&packets.Connack{Properties: &packets.Properties{}})
	w.mu.Lock()
	w.hello = append(w.hello, address)
	w.both += len(w.live)
	w.live[address] = b.Conn
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.live, address)
	}()
	for cp := b.next(); cp != nil; cp = b.next() {
		switch p := cp.Content.(type) {
		case *packets.Publish:
			w.mu.Lock()
			w.took = append(w.took, address+" "+p.Topic)
			mute := w.mute
			w.mu.Unlock()
			if !mute {
				b.send(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
			}
		case *packets.Pingreq:
			_, _ = b.Write([]byte{packets.PINGRESP << 4, 0})
		case *packets.Disconnect:
			return
		}
	}
}

// set shuts and opens addresses, and ends what lives there.
func (w *town) set(address string, shut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut[address] = shut
	if c := w.live[address]; shut && c != nil {
		_ = c.Close()
	}
}

// The best way that is open is used. When a better one is open again the link by
// the worse is ended once nothing is in flight, and nothing is sent twice; there is
// never more than one connection of the client id.
func TestTheBestWayThatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t, shut: map[string]bool{"a:1": true}, live: map[string]net.Conn{}}
		o := quick("a:1")
		o.ConnectTimeout = 10 * time.Second
		var ways []Way
		names := []string{"mqtt://a:1", "mqtt://b:2"}
		for _, n := range names {
			one := o
			one.Endpoint = n
			ways = append(ways, Way{Options: one})
		}
		known := upstream.NewWays(names, nil)
		u := NewUplink(o, "gateway", discard(), upstream.Hooks{})
		u.Choose(ways, known)
		u.dialer.reach = w.reach
		link := func() bridge.Link {
			l, err := u.Connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return eager{l}
		}
		began := time.Now()
		l := link()
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("connected by the second way after %v", d)
		}
		if s := u.Status(); s.Way != "mqtt://b:2" || len(s.Ways) != 2 || s.Ways[0].Err == nil || s.Ways[1].Err != nil {
			t.Errorf("status %+v", s)
		}
		if out := send(t, l, delivery("one", nil)); out.Result != bridge.ResultAcked {
			t.Errorf("outcome %+v", out)
		}
		time.Sleep(30 * time.Minute)
		if l.Err() != nil {
			t.Fatalf("the link ended while the better way was shut: %v", l.Err())
		}
		w.mu.Lock()
		w.mute = true
		w.mu.Unlock()
		w.set("a:1", false)
		outcome := make(chan bridge.Outcome, 1)
		time.Sleep(40 * time.Minute) // more than the pause between two looks
		if err := l.Err(); !errors.Is(err, ErrRenewed) || !strings.Contains(err.Error(), "better way") {
			t.Fatalf("the better way is open, and the link ended by %v", err)
		}
		w.mu.Lock()
		w.mute = false
		w.mu.Unlock()
		l = link()
		if err := l.Send(t.Context(), delivery("two", nil), func(o bridge.Outcome) { outcome <- o }); err != nil {
			t.Fatal(err)
		}
		if out := <-outcome; out.Result != bridge.ResultAcked || u.Status().Way != "mqtt://a:1" || u.Status().Ways[0].Err != nil {
			t.Errorf("outcome %+v, status %+v", out, u.Status())
		}
		// The better way is shut again: the other is used within a few seconds.
		w.set("a:1", true)
		<-l.Done()
		began = time.Now()
		l = link()
		if d := time.Since(began); u.Status().Way != "mqtt://b:2" || d > 5*time.Second {
			t.Errorf("by %s after %v", u.Status().Way, d)
		}
		_ = l.Close()
		<-l.Done()
		w.all.Wait()
		if w.both != 0 {
			t.Errorf("%d CONNECTs while another connection of the client id lived", w.both)
		}
		if got := strings.Join(w.took, ", "); got != "b:2 one, a:1 two" {
			t.Errorf("arrived %s", got)
		}
	})
}

// A way that lets us log in and then hangs up is not gone back to at once, however
// good it is.
func TestAWayOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t, shut: map[string]bool{}, live: map[string]net.Conn{}}
		o := quick("a:1")
		var ways []Way
		names := []string{"mqtt://a:1", "mqtt://b:2"}
		for _, n := range names {
			one := o
			one.Endpoint = n
			ways = append(ways, Way{Options: one})
		}
		u := NewUplink(o, "gateway", discard(), upstream.Hooks{})
		u.Choose(ways, upstream.NewWays(names, nil))
		u.dialer.reach = w.reach
		end := time.Now().Add(24 * time.Hour)
		for time.Now().Before(end) {
			l, err := u.Connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if u.Status().Way == "mqtt://a:1" {
				time.Sleep(5 * time.Second)
				w.mu.Lock()
				_ = w.live["a:1"].Close()
				w.mu.Unlock()
				<-l.Done()
			} else {
				select {
				case <-l.Done():
				case <-time.After(time.Until(end)):
				}
			}
			_ = l.Close()
			<-l.Done()
		}
		w.all.Wait()
		tries := strings.Count(strings.Join(w.hello, " "), "a:1")
		t.Logf("tried %d times in a day", tries)
		if tries < 10 || tries > 40 {
			t.Errorf("the way of no use was tried %d times in a day", tries)
		}
	})
}
