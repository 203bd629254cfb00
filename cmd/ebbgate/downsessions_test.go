package main

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// openedSpool is a gateway that has nothing but a spool, to be closed by the test.
func openedSpool(t *testing.T, dir string) *gateway {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	o := spool.DefaultOptions()
	o.Dir = dir
	s, err := spool.Open(o, spool.Deps{Log: log, Health: new(bridge.Health)})
	if err != nil {
		t.Fatal(err)
	}
	return &gateway{spool: s, log: log, cfg: &configs.Config{}}
}

func session(endpoint, clientID string) mqtt.Options {
	return mqtt.Options{Endpoint: endpoint, ClientID: clientID}
}

// What a session has is known after a start, to its client id at its host; by another port
// it is what those of the others have.
func TestNotesOfSessionsOutliveAStart(t *testing.T) {
	dir := t.TempDir()
	g := openedSpool(t, dir)
	s := g.sessionOf(session("mqtt://broker:1883", "gw"))
	if filters, known, err := s.Filters(); len(filters) != 0 || known || err != nil {
		t.Errorf("before anything was kept there are %v, %v, %v", filters, known, err)
	}
	want := []string{"cmd/#", "fw/ü"}
	if err := s.Keep(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := g.spool.Close(); err != nil {
		t.Fatal(err)
	}
	g = openedSpool(t, dir)
	defer g.spool.Close()
	for _, c := range []struct {
		name string
		o    mqtt.Options
		want bool
	}{
		{"the same", session("mqtt://broker:1883", "gw"), true},
		{"with TLS", session("mqtts://broker:8883", "gw"), true},
		{"by a WebSocket", session("wss://broker/mqtt", "gw"), true},
		{"another client id", session("mqtt://broker:1883", "gw2"), false},
		{"another broker", session("mqtt://other:1883", "gw"), false},
	} {
		filters, known, err := g.sessionOf(c.o).Filters()
		if err != nil || known != c.want || known && !slices.Equal(filters, want) {
			t.Errorf("%s: %v, %v, %v", c.name, filters, known, err)
		}
	}
	// Two brokers of one host keep a note each.
	if err := g.sessionOf(session("mqtts://broker:8883", "gw")).Keep(t.Context(), []string{"other/#"}); err != nil {
		t.Fatal(err)
	}
	for endpoint, want := range map[string][]string{"mqtt://broker:1883": want, "mqtts://broker:8883": {"other/#"}, "wss://broker/mqtt": {"cmd/#", "fw/ü", "other/#"}} {
		if filters, known, err := g.sessionOf(session(endpoint, "gw")).Filters(); err != nil || !known || !slices.Equal(filters, want) {
			t.Errorf("%s: %v, %v, %v", endpoint, filters, known, err)
		}
	}
	var b bridge.Batch
	b.Put(nsDownSession, sessionKey(session("mqtts://broker:8883", "gw")), nil)
	b.Put(nsDownSession, sessionKey(session("mqtt://broker:1883", "gw")), []byte("{"))
	done := make(chan error)
	g.spool.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if filters, known, err := g.sessionOf(session("mqtt://broker:1883", "gw")).Filters(); known || err != nil {
		t.Errorf("what is not a note: %v, %v", filters, err)
	}
}

// Of the sessions that nothing of the configuration uses the last are remembered.
func TestNotesOfFormerSessionsAreBounded(t *testing.T) {
	g := openedSpool(t, t.TempDir())
	defer g.spool.Close()
	used := session("mqtt://broker:1883", "used")
	var all []string
	for i := range mostPast + 10 {
		o := session("mqtt://broker:1883", fmt.Sprintf("old-%02d", mostPast+10-i)) // not in the order of their names
		if i == 0 {
			o = used
		}
		if err := g.sessionOf(o).Keep(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
		all = append(all, sessionKey(o))
	}
	g.cfg.Upstreams = map[string]configs.Upstream{"cloud": {MQTT: used}}
	g.forgetSessions()
	want := append([]string{all[0]}, all[len(all)-mostPast:]...)
	slices.Sort(want)
	var got []string
	if err := g.spool.Keys(nsDownSession, "", func(key string) bool { got = append(got, key); return true }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}
