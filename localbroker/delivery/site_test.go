package delivery

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/localbroker"
)

// anybody may connect, and is the thing of its client id. Its policy allows
// everything, so that what is refused is refused by us.
type anybody struct{}

func (anybody) Certificate(*x509.Certificate, string, time.Time) (bridge.Principal, error) {
	return bridge.Principal{}, bridge.Errorf("identify", bridge.NotAuthorized, "no certificates here")
}

func (anybody) Named(user, clientID string, policies []string) (bridge.Principal, error) {
	return bridge.Principal{User: user, ClientID: clientID, Policies: policies}, nil
}

func (anybody) Grants(*bridge.Principal) (bridge.Grants, error) { return anybody{}, nil }

func (anybody) Decide(bridge.Request) bridge.Decision { return bridge.Decision{Allowed: true} }

// walk forwards nothing.
type walk struct{ shelf localbroker.Shelf }

func (w walk) Up(p *bridge.Principal, _ bridge.Grants, m *bridge.Message, extend func(*bridge.Batch), done func(error)) {
	w.Authorized(p, m, extend, done)
}

func (w walk) Authorized(_ *bridge.Principal, _ *bridge.Message, extend func(*bridge.Batch), done func(error)) {
	var b bridge.Batch
	if extend != nil {
		extend(&b)
	}
	w.shelf.Commit(&b, func(_ bridge.Seq, err error) { done(err) })
}

// site is a broker with a service, and the stream S1 of the specification's cases.
type site struct {
	t       testing.TB
	library *Library
	service *Service
	drops   *bridge.DropLog
	health  *bridge.Health
	addr    string
	plain   string // address of a listener of profile mqtt
	dir     string
}

// fixture are the sizes of the files of S1, by id: there is no file 6.
var fixture = map[int]int{0: 131072, 1: 51200, 2: 1000, 3: 12800, 4: 0, 5: 300000, 7: 127762}

// contents are the files of the fixture that have been made.
var contents sync.Map

// content is a file of the cases. It is not to be written to.
func content(file, size int) []byte {
	if made, ok := contents.Load([2]int{file, size}); ok {
		return made.([]byte)
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*31 + (i>>8)*7 + file)
	}
	contents.Store([2]int{file, size}, b)
	return b
}

func openSite(t testing.TB, change ...func(*Options)) *site {
	t.Helper()
	s := &site{t: t, drops: &bridge.DropLog{}, health: &bridge.Health{}, dir: t.TempDir()}
	o := DefaultOptions()
	o.Dir = filepath.Join(s.dir, "streams")
	for _, f := range change {
		f(&o)
	}
	s.library = OpenLibrary(o.Dir)
	s.service = New(o, Deps{Library: s.library, Drops: s.drops, Health: s.health, Log: slog.New(slog.DiscardHandler)})
	l, plain := localbroker.DefaultListenerOf("aws-edge"), localbroker.DefaultListenerOf("mqtt")
	l.Address, plain.Address, plain.Name = "127.0.0.1:0", "127.0.0.1:0", "plain"
	bo := localbroker.DefaultOptions()
	bo.Listeners = []localbroker.ListenerOptions{l, plain}
	shelf := localbroker.NewMemory(nil)
	b, err := localbroker.New(bo, localbroker.Deps{
		Ingest: walk{shelf}, Shelf: shelf, Identities: anybody{}, Authorizer: anybody{}, DropLog: s.drops,
		Log: slog.New(slog.DiscardHandler), Families: []localbroker.Family{s.service},
	})
	if err == nil {
		s.service.Reach(b)
		err = b.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.plain = b.Addrs()[l.Name].String(), b.Addrs()[plain.Name].String()
	t.Cleanup(s.service.Close)
	peers.Run(t, b.Run)
	return s
}

// defined defines S1, with a hole at file 6 as in the cases.
func (s *site) defined() *site {
	s.t.Helper()
	var paths []string
	for i := range 8 {
		if size, there := fixture[i]; there {
			paths = append(paths, strconv.Itoa(i)+"="+s.write(strconv.Itoa(i), content(i, size)))
		}
	}
	description := "test stream"
	if _, err := s.library.Create(context.Background(), "S1", Change{Description: &description, Paths: paths}); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func (s *site) write(name string, b []byte) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// undisturbed has another device served, beside an attack.
func (s *site) undisturbed() {
	s.t.Helper()
	calm := s.listener("calm")
	calm.get(`"f":5,"l":65536,"n":2`)
	calm.blocks(2, 5, 65536)
}

// patient is how long a test waits for what must come.
const patient = 30 * time.Second

// dev is a device.
type dev struct {
	t   testing.TB
	id  string
	c   mqtt.Client
	got chan msg
}

// msg is what a device got.
type msg struct {
	verb   string
	format Format
	fields map[string]any
	p      []byte
	raw    []byte
}

// join connects a device that listens to its answers, or to none.
func (s *site) join(id string, filters ...string) *dev {
	s.t.Helper()
	return s.joinAt(s.addr, id, filters...)
}

func (s *site) joinAt(addr, id string, filters ...string) *dev {
	s.t.Helper()
	d := &dev{t: s.t, id: id, got: make(chan msg, 2000)}
	d.c = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetAutoReconnect(false).SetProtocolVersion(4))
	d.must("connect", d.c.Connect())
	s.t.Cleanup(func() { d.c.Disconnect(50) })
	for _, f := range filters {
		d.must("subscribe", d.c.Subscribe(f, 1, d.take))
	}
	return d
}

// listener joins a device that listens to all answers to its thing.
func (s *site) listener(id string) *dev {
	return s.join(id, "$aws/things/"+id+"/streams/#")
}

func (d *dev) must(what string, tok mqtt.Token) {
	d.t.Helper()
	if !tok.WaitTimeout(patient) || tok.Error() != nil {
		d.t.Fatalf("%s: %s: %v", d.id, what, tok.Error())
	}
}

func (d *dev) take(_ mqtt.Client, m mqtt.Message) {
	t, err := parseTopic(m.Topic())
	if err != nil {
		d.t.Errorf("%s got %s", d.id, m.Topic())
		return
	}
	out := msg{verb: t.verb, format: t.format, raw: m.Payload()}
	if t.format == CBOR {
		err = cborReader.Unmarshal(m.Payload(), &out.fields)
		out.p, _ = out.fields["p"].([]byte)
	} else if err = json.Unmarshal(m.Payload(), &out.fields); err == nil {
		text, _ := out.fields["p"].(string)
		out.p, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil {
		d.t.Errorf("%s got %q: %v", d.id, m.Payload(), err)
	}
	d.got <- out
}

// number reads a field, -1 when there is none.
func (m msg) number(name string) int {
	switch n := m.fields[name].(type) {
	case float64:
		return int(n)
	case uint64:
		return int(n)
	}
	return -1
}

func (d *dev) publish(topic string, qos byte, payload any) {
	d.t.Helper()
	d.must("publish", d.c.Publish(topic, qos, false, payload))
}

// get asks S1 for blocks, in JSON.
func (d *dev) get(fields string) { d.t.Helper(); d.ask("S1", verbGet, JSON, []byte("{"+fields+"}")) }

func (d *dev) ask(stream, verb string, format Format, payload []byte) {
	d.t.Helper()
	d.publish(topic{d.id, stream, verb, format}.String(), 1, payload)
}

func (d *dev) next() msg {
	d.t.Helper()
	select {
	case m := <-d.got:
		return m
	case <-time.After(patient):
		d.t.Fatalf("%s: nothing comes", d.id)
		return msg{}
	}
}

// blocks takes n blocks of a file, which must be in order and right, and lists
// their numbers.
func (d *dev) blocks(n, file, size int) (out []int) {
	d.t.Helper()
	for range n {
		m := d.next()
		i := m.number("i")
		if m.verb != verbData || m.number("f") != file || m.number("l") != len(m.p) {
			d.t.Fatalf("got %s of %s", m.raw[:min(len(m.raw), 200)], m.verb)
		}
		want := content(file, fixture[file])
		if want = want[i*size:]; string(m.p) != string(want[:min(size, len(want))]) {
			d.t.Fatalf("block %d is wrong", i)
		}
		out = append(out, i)
	}
	return out
}

// rejected takes a rejection with that code.
func (d *dev) rejected(code Code) msg {
	d.t.Helper()
	m := d.next()
	if m.verb != verbRejected || m.fields["o"] != string(code) {
		d.t.Fatalf("got %s %s, want a rejection with %s", m.verb, m.raw[:min(len(m.raw), 200)], code)
	}
	return m
}

// quiet makes sure that nothing has come before the answer to a request that was
// made after everything else.
func (d *dev) quiet() {
	d.t.Helper()
	d.ask("S1", verbDescribe, JSON, []byte(`{"c":"quiet"}`))
	if m := d.next(); m.verb != verbDescription || m.fields["c"] != "quiet" {
		d.t.Fatalf("got %s %s", m.verb, m.raw[:min(len(m.raw), 200)])
	}
}

func (s *site) dropped(reason string) (n int64) {
	for _, d := range s.drops.All() {
		if d.Reason == reason {
			n += d.Count
		}
	}
	return n
}

// until waits for something that must come true.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	deadline, tick := time.Now().Add(patient), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatal(fmt.Sprint("it does not come true: ", what))
		}
		<-tick.C
	}
}
