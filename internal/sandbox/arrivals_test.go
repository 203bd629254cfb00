package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// byColon identifies payloads such as "a:1".
func byColon(payload []byte) (series string, number uint64, ok bool) {
	series, rest, ok := strings.Cut(string(payload), ":")
	if !ok {
		return "", 0, false
	}
	_, err := fmt.Sscan(rest, &number)
	return series, number, err == nil
}

type grants bool

func (g grants) Decide(bridge.Request) bridge.Decision {
	return bridge.Decision{Allowed: bool(g), Reason: "says the test"}
}

func arrive(a *Arrivals, payloads ...string) {
	for _, p := range payloads {
		m := &bridge.Message{Topic: "t", Payload: []byte(p)}
		a.Up(&bridge.Principal{}, grants(true), m, nil, func(err error) {
			if err != nil {
				panic(err)
			}
		})
	}
}

func TestArrivalsAreCountedBySet(t *testing.T) {
	a := NewArrivals(byColon, func(m *bridge.Message) int64 { return int64(len(m.Payload)) })
	arrive(a, "a:1", "a:3", "a:3", "b:1", "a:2", "hello", "b:1")
	want := Counts{Messages: 7, Distinct: 4, Duplicates: 2, OutOfOrder: 1, Others: 1, Units: 23, FirstUnits: 17, RecordUnits: 23, Bytes: 30}
	if got := a.Counts(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !a.Seen().Has("a", 2) || a.Seen().Has("b", 2) {
		t.Error("the set is wrong")
	}
}

func TestArrivalsCountARecordOnce(t *testing.T) {
	a := NewArrivals(byColon, func(*bridge.Message) int64 { return 1 })
	for _, c := range []struct{ payload, id string }{
		{"a:1", "00000000000000aa0000000000000001"},
		{"a:1", "00000000000000aa0000000000000001"}, // the gateway's resend
		{"a:1", "00000000000000bb0000000000000001"}, // the device's, to the next boot
		{"a:2", "not an id"},
		{"a:2", ""},
	} {
		m := &bridge.Message{Payload: []byte(c.payload)}
		m.User = []bridge.UserProperty{{Key: bridge.PropID, Value: c.id}}
		a.Authorized(nil, m, nil, func(error) {})
	}
	if got := a.Counts(); got.RecordUnits != 4 || got.FirstUnits != 2 || got.Units != 5 {
		t.Errorf("%+v", got)
	}
}

func TestArrivalsShowTheLatestOfPeople(t *testing.T) {
	a := NewArrivals(byColon, nil)
	for i := range 40 {
		arrive(a, fmt.Sprintf("message %d", i), fmt.Sprintf("a:%d", i+1))
	}
	arrive(a, strings.Repeat("x", 1000))
	got := a.Latest()
	if len(got) != keepLatest || got[0].Payload != "message 25" || len(got[keepLatest-1].Payload) != keepPayload {
		t.Errorf("%d kept: %+v", len(got), got)
	}
}

func TestArrivalsRefuseWhatThePolicyDenies(t *testing.T) {
	a := NewArrivals(byColon, nil)
	var got error
	a.Up(&bridge.Principal{}, grants(false), &bridge.Message{Topic: "t"}, nil, func(err error) { got = err })
	if bridge.KindOf(got) != bridge.NotAuthorized || a.Counts().Messages != 0 {
		t.Errorf("%v, %+v", got, a.Counts())
	}
}

func TestControl(t *testing.T) {
	g := openGate(t, peers.Echo(t))
	a := NewArrivals(byColon, nil)
	arrive(a, "a:1", "hello")
	control := NewControl(&Cloud{gate: g, arrivals: a, streams: newStreams()})
	do := func(method, path, origin string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://127.0.0.1:18831"+path, nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		control.ServeHTTP(w, r)
		return w
	}
	for _, c := range []struct {
		method, path, origin string
		status               int
		fault                Fault
	}{
		{"POST", "/blackhole", "", 200, Fault{BlackHole: true}},
		{"POST", "/refuse", "", 200, Fault{Refuse: true}},
		{"POST", "/slow?latency=30ms&rate=1000", "", 200, Fault{Latency: 30 * time.Millisecond, BytesPerSecond: 1000}},
		{"POST", "/slow?latency=fast", "", 400, Fault{Latency: 30 * time.Millisecond, BytesPerSecond: 1000}},
		{"POST", "/slow?rate=-1", "", 400, Fault{Latency: 30 * time.Millisecond, BytesPerSecond: 1000}},
		{"POST", "/restore", "https://evil.example", 403, Fault{Latency: 30 * time.Millisecond, BytesPerSecond: 1000}},
		{"GET", "/restore", "", 405, Fault{Latency: 30 * time.Millisecond, BytesPerSecond: 1000}},
		{"POST", "/restore", "", 200, Fault{}},
		{"POST", "/cut", "", 200, Fault{}},
	} {
		if w := do(c.method, c.path, c.origin); w.Code != c.status || g.Fault() != c.fault {
			t.Errorf("%s %s: status %d, fault %+v; want %d, %+v", c.method, c.path, w.Code, g.Fault(), c.status, c.fault)
		}
	}
	rebound := httptest.NewRequest("GET", "http://evil.example/report", nil)
	w := httptest.NewRecorder()
	if control.ServeHTTP(w, rebound); w.Code != 403 {
		t.Errorf("another host: status %d, want 403", w.Code)
	}
	var report Report
	if err := json.Unmarshal(do("GET", "/report", "").Body.Bytes(), &report); err != nil || report.Distinct != 1 || report.Others != 1 {
		t.Errorf("report %+v: %v", report, err)
	}
	var latest []Arrival
	if err := json.Unmarshal(do("GET", "/latest", "").Body.Bytes(), &latest); err != nil || len(latest) != 1 || latest[0].Payload != "hello" {
		t.Errorf("latest %+v: %v", latest, err)
	}
}
