package delivery

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// TestF77_WholeFile downloads as FreeRTOS's agent does: a bitmap of what is
// missing, so many blocks at a time.
func TestF77_WholeFile(t *testing.T) {
	s := openSite(t).defined()
	want := sha256.Sum256(content(5, fixture[5]))
	for _, c := range []struct{ block, count int }{{256, 8}, {4096, 1}, {4096, 8}, {32768, 3}, {131072, 1}} {
		for _, format := range []Format{JSON, CBOR} {
			d := s.listener(fmt.Sprintf("t-%d-%d-%s", c.block, c.count, format))
			total := (fixture[5] + c.block - 1) / c.block
			missing := make([]byte, (total+7)/8)
			for i := range total {
				missing[i/8] |= 1 << (i % 8)
			}
			file := make([]byte, fixture[5])
			for left := total; left > 0; {
				d.ask("S1", verbGet, format, marshal(format, map[string]any{"c": "rdy", "s": 1, "f": 5, "l": c.block, "o": 0, "b": missing, "n": c.count}))
				for range min(c.count, left) {
					m := d.next()
					i := m.number("i")
					if m.verb != verbData || i < 0 || missing[i/8]&(1<<(i%8)) == 0 {
						t.Fatalf("got %s, block %d", m.verb, i)
					}
					copy(file[i*c.block:], m.p)
					missing[i/8] &^= 1 << (i % 8)
					left--
				}
			}
			if sha256.Sum256(file) != want {
				t.Errorf("%d × %d in %s: another file", c.count, c.block, format)
			}
		}
	}
}

// TestF82_AnotherThing: nobody is served on another's topic.
func TestF82_AnotherThing(t *testing.T) {
	s := openSite(t).defined()
	t1 := s.listener("t1")
	t2 := s.join("t2", "$aws/things/+/streams/#")
	t2.c.Publish("$aws/things/t1/streams/S1/get/json", 1, false, `{"f":0,"l":256,"n":1}`)
	s.until("it is refused", func() bool { return s.dropped("not-authorized") > 0 })
	t1.quiet()
	if len(t2.got) > 0 {
		t.Errorf("t2 got %v", <-t2.got)
	}
	s.undisturbed()
}

// TestF83_AnswersAreNotForwarded: a device that publishes an answer speaks for the
// cloud.
func TestF83_AnswersAreNotForwarded(t *testing.T) {
	s := openSite(t).defined()
	t1 := s.listener("t1")
	for i, verb := range []string{verbData, verbDescription, verbRejected} {
		forger := s.join(fmt.Sprint("forger", i))
		forger.c.Publish("$aws/things/t1/streams/S1/"+verb+"/json", 1, false, `{"f":0,"l":3,"i":0,"p":"AAAA"}`)
		s.until("it is refused", func() bool { return s.dropped("topic-invalid") == int64(i+1) })
	}
	t1.quiet()
	s.undisturbed()
}

// TestF83_FromOtherListeners: so it is on a listener of profile mqtt, where $aws is a
// topic like any other: what is published there reaches devices of all listeners, and is
// kept for those to come when it is retained. Requests are messages there, as before.
func TestF83_FromOtherListeners(t *testing.T) {
	s := openSite(t).defined()
	t1 := s.listener("t1")
	for i, verb := range []string{verbData, verbDescription, verbRejected} {
		for j, retain := range []bool{false, true} { // each ends its connection: 3.1.1 has no other answer
			s.joinAt(s.plain, "forger").c.Publish("$aws/things/t1/streams/S1/"+verb+"/json", 1, retain, `{"f":0,"l":3,"i":0,"p":"AAAA"}`)
			s.until("it is refused", func() bool { return s.dropped("topic-invalid") == int64(2*i+j+1) })
		}
	}
	t1.quiet()
	late := s.join("late", "$aws/things/t1/streams/S1/data/json", "$aws/things/late/streams/S1/description/json")
	late.quiet()
	reader := s.joinAt(s.plain, "reader", "$aws/things/t1/streams/S1/get/json")
	s.joinAt(s.plain, "other").publish("$aws/things/t1/streams/S1/get/json", 1, `{"f":0,"l":256,"n":1}`)
	if m := reader.next(); m.verb != verbGet {
		t.Errorf("got %s", m.verb)
	}
	s.undisturbed()
}

// TestF85_UnknownFormat is dropped and counted, and the connection lives.
func TestF85_UnknownFormat(t *testing.T) {
	s := openSite(t).defined()
	d := s.listener("t1")
	for _, topic := range []string{"get/xml", "get", "fetch/json", "get/json/x"} {
		d.publish("$aws/things/t1/streams/S1/"+topic, 1, `{"f":0,"l":256}`)
	}
	if n := s.dropped(invalidTopicReason); n != 4 {
		t.Errorf("%d counted", n)
	}
	d.quiet()
	s.undisturbed()
}

// TestF84_SlowSubscriber: a device that asks for much and reads nothing has no
// more than its window on the way, its further requests are dropped, and another
// device is served as ever.
func TestF84_SlowSubscriber(t *testing.T) {
	s := openSite(t).defined()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	send := func(kind byte, flags byte, body []byte) {
		t.Helper()
		head := []byte{kind<<4 | flags}
		for n := len(body); ; {
			b := byte(n & 0x7f)
			if n >>= 7; n > 0 {
				head = append(head, b|0x80)
				continue
			}
			head = append(head, b)
			break
		}
		if _, err := conn.Write(append(head, body...)); err != nil {
			t.Fatal(err)
		}
	}
	text := func(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }
	send(packets.CONNECT, 0, append(append(text("MQTT"), 4, 2, 0, 60), text("slow")...))
	answered := func(n int) {
		t.Helper()
		if _, err := io.ReadFull(conn, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	answered(4) // CONNACK
	send(packets.SUBSCRIBE, 2, append(append([]byte{0, 1}, text("$aws/things/slow/streams/#")...), 0))
	answered(5) // SUBACK
	for i := range 200 {
		send(packets.PUBLISH, 0, append(text("$aws/things/slow/streams/S1/get/json"), fmt.Sprintf(`{"c":"%d","f":5,"l":65536,"n":2}`, i)...))
	}
	s.until("requests are dropped", func() bool { return s.dropped("stream-queue-full") > 0 })
	s.service.mu.Lock()
	d := s.service.devices["slow"]
	bytes, queued := d.bytes, len(d.queue)
	s.service.mu.Unlock()
	if bytes > int(s.service.o.Window) || queued > maxQueued {
		t.Errorf("%d bytes on the way, %d requests wait", bytes, queued)
	}
	other := s.listener("t1")
	for range 20 {
		other.get(`"f":5,"l":65536,"n":2`)
		other.blocks(2, 5, 65536)
	}
}

// TestMaximumPacketSize: who announced less than a block's packet is told so.
func TestMaximumPacketSize(t *testing.T) {
	s := openSite(t).defined()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *paho.Publish, 10)
	c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) { got <- p.Packet; return true, nil },
	}})
	size := uint32(9000)
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: "t1", CleanStart: true, KeepAlive: 60, Properties: &paho.ConnectProperties{MaximumPacketSize: &size}}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Disconnect(&paho.Disconnect{}) }()
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "$aws/things/t1/streams/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	for block, want := range map[string]string{"8192": "BlockSizeOutOfBounds", "4096": `"l":4096`} {
		if _, err := c.Publish(ctx, &paho.Publish{Topic: "$aws/things/t1/streams/S1/get/json", QoS: 1, Payload: []byte(`{"f":0,"n":1,"l":` + block + `}`)}); err != nil {
			t.Fatal(err)
		}
		p := <-got
		if text := string(p.Payload[:min(len(p.Payload), 120)]); !strings.Contains(text, want) {
			t.Errorf("%s: %s", block, text)
		}
	}
}

// TestDuplicatesInFlight: the same request again, while it is answered, is one.
func TestDuplicatesInFlight(t *testing.T) {
	s := openSite(t, func(o *Options) { o.BytesPerSecond = 200 << 10 }).defined()
	d := s.listener("t1")
	for range 4 {
		d.get(`"f":5,"l":65536,"n":2`) // base64 of it is most of a second's rate
	}
	for range 10 {
		d.get(`"f":5,"l":131072,"n":1`)
	}
	s.until("it is dropped", func() bool { return s.dropped("stream-duplicate") > 0 })
	s.undisturbed()
}

// TestSnapshot: a file that is edited, and one that is gone, change nothing; damage
// is seen.
func TestSnapshot(t *testing.T) {
	s := openSite(t).defined()
	d := s.listener("t1")
	s.write("5", []byte("edited"))
	if err := os.Remove(filepath.Join(s.dir, "0")); err != nil {
		t.Fatal(err)
	}
	d.get(`"f":5,"l":65536,"n":2`)
	d.blocks(2, 5, 65536)
	d.get(`"f":0,"l":65536,"n":2`)
	d.blocks(2, 0, 65536)

	path := filepath.Join(s.library.dir, "S1", "1", "1")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[1000] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	d.get(`"f":1,"l":256,"n":1`)
	d.rejected(InternalError)
	if len(s.health.Warnings()) == 0 {
		t.Error("no warning")
	}
}

// TestUpdate: the next version is in force at once, the one before is refused, and
// a stream that was deleted goes on with its versions.
func TestUpdate(t *testing.T) {
	s := openSite(t).defined()
	d := s.listener("t1")
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	d.get(`"f":0,"l":256,"n":1`)
	d.blocks(1, 0, 256)
	if _, err := s.library.Update(ctx, "S1", Change{Paths: []string{s.write("new", []byte("new content of the stream"))}}); err != nil {
		t.Fatal(err)
	}
	d.get(`"s":1,"f":0,"l":256,"n":1`)
	d.rejected(VersionMismatch)
	d.get(`"f":0,"l":256,"n":1`)
	if m := d.next(); string(m.p) != "new content of the stream" {
		t.Errorf("%s", m.raw)
	}
	if err := s.library.Delete(ctx, "S1"); err != nil {
		t.Fatal(err)
	}
	d.get(`"f":0,"l":256,"n":1`)
	d.rejected(ResourceNotFound)
	left, err := filepath.Glob(filepath.Join(s.library.dir, "S1", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
	again, err := s.library.Create(ctx, "S1", Change{Paths: []string{filepath.Join(s.dir, "new")}})
	if err != nil || again.Version != 3 {
		t.Errorf("%+v %v", again, err)
	}
	if _, err := s.library.Create(ctx, "S1", Change{Paths: []string{filepath.Join(s.dir, "new")}}); err == nil {
		t.Error("created twice")
	}
	if _, err := s.library.Update(ctx, "S1", Change{}); err != nil {
		t.Error(err)
	}
}

// TestPipe: what is no regular file is refused, and not waited for.
func TestPipe(t *testing.T) {
	s := openSite(t)
	pipe := filepath.Join(s.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, os.DevNull} {
		if _, err := s.library.Create(t.Context(), "P", Change{Paths: []string{path}}); err == nil || !strings.Contains(err.Error(), "is not a file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
