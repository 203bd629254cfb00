package billing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// counted counts what a ledger is given.
type counted struct {
	Counters
	given int
}

func (c *counted) Scan(namespace, prefix string, fn func(string, []byte) bool) error {
	return c.Counters.Scan(namespace, prefix, func(key string, value []byte) bool { c.given++; return fn(key, value) })
}

// The course of a month has no more lines than it has hours, topics and routes,
// however many devices there were, and costs what the lines of all devices do.
func TestCourseIsOfAllDevicesTogether(t *testing.T) {
	const devices = 50
	spool := newMemory()
	for i := range devices {
		for _, hour := range []string{"2026112000", "2026112001", "2026112105"} {
			s := series{upstream: "aws", direction: Up, device: fmt.Sprint("pump-", i), prefix: "dt/a", route: "r", thing: fmt.Sprint("pump-", i)}
			for n, kind := range []byte{kindUnits, kindMessages, kindWire, kindBytes, kindOther} {
				spool.counters[s.key(hour)+string(kind)] = int64(100*i + n + 1)
			}
		}
	}
	from, to := Month(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))
	o := frankfurt()
	o.DeclaredRules = []DeclaredRule{{Topic: "dt/#", Rules: 1, Subscribers: 1, QoS: "1"}}
	source := &counted{Counters: spool}
	l, err := NewLedger(source, map[string]Options{"aws": o})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	if err := l.scan("202611", func(time.Time, bool, series, Counts) { calls++ }); err != nil || calls != 3*devices || source.given != 5*calls {
		t.Errorf("%d series of %d counters, %v; want %d", calls, source.given, err, 3*devices)
	}
	all := detail(t, l, from, to, time.Hour)
	course, err := l.Course(from, to, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Lines) != 3*devices || len(course.Lines) != 3 {
		t.Errorf("%d lines of devices, %d of all together", len(all.Lines), len(course.Lines))
	}
	if a, b := all.Totals[0], course.Totals[0]; a.Counts != b.Counts || a.USD != b.USD || a.USDRange != b.USDRange || a.Estimated != b.Estimated || a.EstimatedRange != b.EstimatedRange {
		t.Errorf("%+v\n%+v", a, b)
	}
	hour := func(n Line) string { return n.Start.String() }
	want, got := Group(all.Lines, 10, hour), Group(course.Lines, 10, hour)
	if fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("%+v, want %+v", got, want)
	}
	addUp(t, course)
}

// A gateway that begins to answer and then says nothing does not hold whoever asks.
func TestAGatewayThatSaysNothingAnyMore(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "a2V5 AAAAAAAAAAE=\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	lines := 0
	far := Remote{Context: context.Background(), Client: http.DefaultClient, URL: server.URL, Stall: 100 * time.Millisecond}
	err := far.Scan(Namespace, "", func(string, []byte) bool { lines++; return true })
	if !errors.Is(err, errStalled) || lines > 1 {
		t.Errorf("%d lines, %v", lines, err)
	}
}
