package billing

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func TestABillFromAfarIsTheSame(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	m := newMeter(t, spool, frankfurt(), clock)
	m.Opened("aws", "plant7", Connection{})
	var b bridge.Batch
	m.Delivered(&b, "aws", to("dt/a", 100), bridge.Outcome{Wire: 130})
	spool.Commit(&b, nil)
	m.writeSizes(nil)
	server := httptest.NewServer(Export(spool))
	defer server.Close()
	far := Remote{Context: t.Context(), Client: server.Client(), URL: server.URL}
	got, err := newLedger(t, far, map[string]Options{"aws": frankfurt()}).Bill(Today(clock.Wall))
	if err != nil {
		t.Fatal(err)
	}
	if want := spool.bill(t, frankfurt(), clock.Wall); !reflect.DeepEqual(got.Lines, want.Lines) {
		t.Errorf("%+v, want %+v", got.Lines, want.Lines)
	}
	n := 0
	if err := far.Scan(SizesNamespace, "20261120", func(string, []byte) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("%d histograms, %v", n, err)
	}
	if err := far.Scan("session", "", nil); err == nil {
		t.Error("another namespace was served")
	}
}

// broken is a spool whose second entry cannot be read.
type broken struct{}

func (broken) Scan(_, _ string, fn func(string, []byte) bool) error {
	fn("a", []byte{1})
	return errors.New("damaged")
}

func TestAnAnswerThatIsNotWholeIsAnError(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"the spool fails": Export(broken{}),
		"cut":             http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("YQ== YQ==\n")) }),
		"not a ledger":    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>\n.\n")) }),
		"no value":        http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("YQ== *\n.\n")) }),
		"not found":       http.NotFoundHandler(),
	} {
		server := httptest.NewServer(h)
		err := Remote{t.Context(), server.Client(), server.URL, 0}.Scan(Namespace, "", func(string, []byte) bool { return true })
		server.Close()
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSizesAreKeptAcrossRestartsAndDropped(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	for range 3 {
		m := newMeter(t, spool, frankfurt(), clock)
		var b bridge.Batch
		for range 10 {
			m.Delivered(&b, "aws", to("dt/a/temp", 240), bridge.Outcome{})
		}
		clock.Wall = clock.Wall.Add(time.Hour)
		m.Delivered(&b, "aws", to("dt/a/temp", 240), bridge.Outcome{})
		m.writeSizes(nil)
	}
	if len(spool.sizes) != 1 {
		t.Fatalf("%d histograms, want one for the day", len(spool.sizes))
	}
	traffic, err := newLedger(t, spool, nil).Traffic("aws", clock.Wall.AddDate(0, 0, -1), clock.Wall.AddDate(0, 0, 1))
	if err != nil || len(traffic) != 1 {
		t.Fatalf("%+v, %v", traffic, err)
	}
	if got := traffic[0]; got.Route != "telemetry" || got.Topic != "dt/a" || got.Sizes.Messages() != 33 {
		t.Errorf("%+v, want 33 messages of telemetry under dt/a", got)
	}
	if err := dropSizes(t.Context(), spool, clock.Wall.AddDate(0, 0, 61)); err != nil || len(spool.sizes) != 1 {
		t.Errorf("dropped before their time: %v", err)
	}
	if err := dropSizes(t.Context(), spool, clock.Wall.AddDate(0, 0, 64)); err != nil || len(spool.sizes) != 0 {
		t.Errorf("not dropped: %v", err)
	}
}

func TestSizesAreBoundedInNumber(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-20 13:00")
	o := frankfurt()
	o.MaxPrefixes, o.PrefixLevels = 1000, 3
	m := newMeter(t, spool, o, clock)
	var b bridge.Batch
	for i := range 500 {
		m.Delivered(&b, "aws", to("dt/"+string(rune('a'+i%26))+"/"+string(rune('a'+i/26)), 10), bridge.Outcome{})
	}
	spool.fails = errors.New("full")
	m.writeSizes(nil)
	spool.fails = nil
	m.writeSizes(nil) // what could not be written is written now
	if n := len(spool.sizes); n != maxSizes+1 {
		t.Errorf("%d histograms, want %d and one for the rest", n, maxSizes)
	}
}
