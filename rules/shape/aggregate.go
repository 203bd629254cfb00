package shape

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/payload"
)

// aggregate is what is known of the messages of a window, as JSON in partial
// records. Ages are on the spool's clock.
type aggregate struct {
	Topic    string           `json:"topic"`
	Start    time.Duration    `json:"start"`
	End      time.Duration    `json:"end"`
	Count    int64            `json:"count"`
	ID       bridge.MessageID `json:"id"` // of the first message
	From     moment           `json:"from"`
	To       moment           `json:"to"`
	FirstAge time.Duration    `json:"first_age"`
	Unsynced bool             `json:"unsynced,omitempty"` // nobody vouched for the clock of some
	Fields   map[string]*stat `json:"fields"`
	By       *Window          `json:"by,omitempty"` // how it is summed up; in partial records only
}

// moment is a bridge.Instant as JSON, whatever the clock says.
type moment struct {
	Wall   int64         `json:"wall"` // nanoseconds since 1970
	Boot   uint64        `json:"boot"`
	Mono   time.Duration `json:"mono"`
	Age    time.Duration `json:"age"`
	Synced bool          `json:"synced"`
}

func momentOf(i bridge.Instant) moment {
	return moment{i.Wall.UnixNano(), i.Boot, i.Mono, i.Age, i.Synced}
}

func (m moment) instant() bridge.Instant {
	return bridge.Instant{Wall: time.Unix(0, m.Wall), Boot: m.Boot, Mono: m.Mono, Age: m.Age, Synced: m.Synced}
}

// stat is what is known of one field.
type stat struct {
	First    float64       `json:"first"`
	Last     float64       `json:"last"`
	Min      float64       `json:"min"`
	Max      float64       `json:"max"`
	Mean     float64       `json:"mean"`
	Sum      *float64      `json:"sum,omitempty"`  // nil where it is more than a number holds: then the mean tells
	Lost     float64       `json:"lost,omitempty"` // what rounding has left out of Sum
	Count    int64         `json:"count"`
	FirstAge time.Duration `json:"first_age"`
	LastAge  time.Duration `json:"last_age"`
}

// add takes a message in. A field that it does not have, or that is no number, is
// not counted for it.
func (a *aggregate) add(r *bridge.Record, fields []payload.Field, v any) {
	one := &aggregate{Count: 1, ID: r.ID, From: momentOf(r.Instant), To: momentOf(r.Instant), FirstAge: r.Age, Unsynced: !r.Synced, Fields: map[string]*stat{}}
	for _, f := range fields {
		if n, ok := f.Number(v); ok {
			one.Fields[f.String()] = &stat{First: n, Last: n, Min: n, Max: n, Mean: n, Sum: &n, Count: 1, FirstAge: r.Age, LastAge: r.Age}
		}
	}
	a.merge(one)
}

// merge takes in what is known of other messages of the window, older or newer.
func (a *aggregate) merge(b *aggregate) {
	if a.Count == 0 || b.FirstAge < a.FirstAge {
		a.ID, a.From, a.FirstAge = b.ID, b.From, b.FirstAge
	}
	if a.Count == 0 || b.To.Age >= a.To.Age {
		a.To = b.To
	}
	a.Count += b.Count
	a.Unsynced = a.Unsynced || b.Unsynced
	if a.Fields == nil {
		a.Fields = map[string]*stat{}
	}
	for name, s := range b.Fields {
		if t := a.Fields[name]; t == nil {
			clone := *s
			if a.Fields[name] = &clone; s.Sum != nil {
				sum := *s.Sum
				clone.Sum = &sum
			}
		} else {
			t.merge(s)
		}
	}
}

func (s *stat) merge(t *stat) {
	if t.FirstAge < s.FirstAge {
		s.First, s.FirstAge = t.First, t.FirstAge
	}
	if t.LastAge >= s.LastAge {
		s.Last, s.LastAge = t.Last, t.LastAge
	}
	s.Min, s.Max = min(s.Min, t.Min), max(s.Max, t.Max)
	n := s.Count + t.Count
	// A mean does not overflow where a sum does.
	s.Mean = s.Mean*(float64(s.Count)/float64(n)) + t.Mean*(float64(t.Count)/float64(n))
	s.Count = n
	if s.Sum != nil && t.Sum != nil && !math.IsInf(*s.Sum+*t.Sum, 0) {
		sum, lost := added(*s.Sum, *t.Sum)
		*s.Sum, s.Lost = sum, s.Lost+t.Lost+lost
	} else {
		s.Sum, s.Lost = nil, 0
	}
}

// added is the sum of two numbers, and what its rounding has lost (Neumaier).
func added(a, b float64) (sum, lost float64) {
	if math.Abs(a) < math.Abs(b) {
		a, b = b, a
	}
	sum = a + b
	return sum, a - sum + b
}

// mean is the average: the number next to it, where the sum fits one. Readings that
// are all the same are their own average, and no average lies beyond its readings.
func (s *stat) mean() float64 {
	mean := s.Mean
	if s.Sum != nil {
		n := float64(s.Count)
		mean = *s.Sum / n
		mean += (math.FMA(-mean, n, *s.Sum) + s.Lost) / n // what the division has left, too
	}
	return min(max(mean, s.Min), s.Max)
}

func (a *aggregate) encode() []byte {
	b, err := json.Marshal(a)
	if err != nil { // every number in it is finite: Field.Number sees to that
		panic("shape: partial window: " + err.Error())
	}
	return b
}

func decodeAggregate(b []byte) (*aggregate, error) {
	a := new(aggregate)
	if err := json.Unmarshal(b, a); err != nil {
		return nil, err
	}
	if a.Count <= 0 || a.End <= a.Start {
		return nil, fmt.Errorf("a part of %d messages from %v to %v", a.Count, a.Start, a.End)
	}
	for name, s := range a.Fields {
		if s == nil || s.Count <= 0 {
			return nil, fmt.Errorf("field %q has no values", name)
		}
	}
	return a, nil
}

// summary is the payload of a window's message.
type summary struct {
	Topic  string                        `json:"topic"`
	From   string                        `json:"from"`
	To     string                        `json:"to"`
	Clock  string                        `json:"clock"`
	Count  int64                         `json:"count"`
	Fields map[string]map[string]float64 `json:"fields"`
}

// report is the payload of the window's message, with the functions that were
// asked for.
func (a *aggregate) report(functions []string) []byte {
	from, to := a.From.instant(), a.To.instant()
	whole := bridge.Instant{Synced: from.Synced && to.Synced && !a.Unsynced}
	s := summary{
		Topic: a.Topic, Count: a.Count, Fields: map[string]map[string]float64{}, Clock: whole.Quality(),
		From: from.Wall.UTC().Format(bridge.AcceptedLayout), To: to.Wall.UTC().Format(bridge.AcceptedLayout),
	}
	for name, f := range a.Fields {
		all := map[string]float64{"first": f.First, "last": f.Last, "min": f.Min, "max": f.Max, "avg": f.mean(), "count": float64(f.Count)}
		for k := range all {
			if len(functions) > 0 && !slices.Contains(functions, k) {
				delete(all, k)
			}
		}
		s.Fields[name] = all
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic("shape: window: " + err.Error())
	}
	return b
}

// Size is about how many bytes the payload of a window's message has, of messages
// whose topic has so many: with numbers of four digits, and averages of all.
func (w Window) Size(topic int) int {
	at := momentOf(bridge.Instant{Wall: time.Date(2026, 11, 21, 22, 4, 5, 0, time.UTC), Synced: true})
	a := &aggregate{Topic: strings.Repeat("t", topic), Count: 1000, From: at, To: at, Fields: map[string]*stat{}}
	for _, f := range w.Fields {
		a.Fields[f] = &stat{First: 21.53, Last: 21.53, Min: 21.53, Max: 21.54, Mean: 21.534285714285716, Count: 1000}
	}
	return len(a.report(w.Functions))
}
