package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/spool"
)

// spoolRequest is one operation on a spool. A running gateway takes it on its
// admin port; without one the command opens the spool and does it itself, so
// that both are the same code.
type spoolRequest struct {
	Op    string       `json:"op"` // stat | list | requeue | drop | repair | why | drops | dropped
	Queue string       `json:"queue,omitempty"`
	From  bridge.Place `json:"from,omitempty"`  // the first place
	Limit int          `json:"limit,omitempty"` // 0: all
	Full  bool         `json:"full,omitempty"`  // with payloads
	To    string       `json:"to,omitempty"`    // requeue: the queue to move to

	ID     string        `json:"id,omitempty"`     // why: the message
	Since  time.Duration `json:"since,omitempty"`  // drops, dropped: not older than so long
	Reason string        `json:"reason,omitempty"` // drops, dropped
	Device string        `json:"device,omitempty"` // dropped
	Topic  string        `json:"topic,omitempty"`  // dropped: it begins so
}

// spoolLine is one line of the answer, which is NDJSON.
type spoolLine struct {
	Queue   *queueLine        `json:"queue,omitempty"`
	Usage   *spool.Usage      `json:"usage,omitempty"`
	Shelf   *localbroker.Held `json:"shelf,omitempty"`
	Record  *recordLine       `json:"record,omitempty"`
	Why     *whyLine          `json:"why,omitempty"`
	Drops   *dropsLine        `json:"drops,omitempty"`
	Dropped *dropLine         `json:"dropped,omitempty"`
	Refused *refusedLine      `json:"refused,omitempty"`
	Missing string            `json:"missing,omitempty"`
	Found   string            `json:"found,omitempty"` // damage that opening the spool has found and dealt with
	Done    *int              `json:"done,omitempty"`  // how many records or generations were changed
	SoFar   *soFarLine        `json:"so_far,omitempty"`
	Error   string            `json:"error,omitempty"`
}

type queueLine struct {
	Name    string  `json:"name"`
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"`
	Oldest  float64 `json:"oldest_age_seconds"`
	Drain   string  `json:"drain,omitempty"` // of its upstream, from a running gateway

	bridge.Ledger
}

type recordLine struct {
	Queue      string       `json:"queue"`
	Place      bridge.Place `json:"place"`
	Seq        bridge.Seq   `json:"sequence"`
	ID         string       `json:"id"`
	Device     string       `json:"device"`
	Thing      string       `json:"thing,omitempty"`
	Topic      string       `json:"topic"`
	To         string       `json:"to,omitempty"` // topic at the receiver, when it differs
	QoS        byte         `json:"qos"`
	Retain     bool         `json:"retain,omitempty"`
	Accepted   time.Time    `json:"accepted"`
	Clock      string       `json:"clock"`
	Elsewhere  bool         `json:"accepted_elsewhere,omitempty"` // accepted and clock are of another gateway, or of a start that is forgotten
	Age        float64      `json:"age_seconds"`                  // since it was accepted here
	Size       int          `json:"size"`
	Why        string       `json:"why,omitempty"` // dead letters
	Payload    *string      `json:"payload,omitempty"`
	PayloadB64 []byte       `json:"payload_base64,omitempty"` // when it is not text
}

// errGone ends an operation whose reader has gone.
var errGone = errors.New("the reader has gone")

// routed lists the queues that the routes of a configuration send, and those that wait
// for their steps.
func routed(o rules.Options) ([]string, error) {
	table, err := rules.Compile(o)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, q := range table.Queues() {
		names = append(names, q.Name)
	}
	for _, q := range table.Shaped() {
		names = append(names, bridge.RawQueue(q.Queue))
	}
	return names, nil
}

// desk is what operations are done on.
type desk struct {
	*spool.Spool
	drops   *bridge.DropLog
	queues  []string                   // that routes send: messages are moved to no other, where they would wait for ever
	outlook func(queue string) outlook // of a running gateway, or nil

	delivers func(queue string) bool // of a running gateway, or nil: whether it does so now
}

// operate does one operation and tells emit each line. The end of ctx stops it:
// what was changed by then stays so.
func (s *desk) operate(ctx context.Context, r spoolRequest, emit func(spoolLine) error) error {
	queues := s.queues
	if err := s.knownQueue(r.Queue); err != nil && r.Queue != bridge.SiteQueue {
		return err
	}
	if err := s.knownReason(r.Reason); err != nil {
		return err
	}
	if r.Op == "requeue" && r.To == "" {
		return fmt.Errorf("messages of %s go nowhere else by themselves: name a queue with --to; the routes send %s", r.Queue, strings.Join(queues, ", "))
	}
	if r.Op == "requeue" && !slices.Contains(queues, r.To) {
		return fmt.Errorf("no route sends queue %q; the routes send %s", r.To, strings.Join(queues, ", "))
	}
	switch r.Op {
	case "stat":
		return s.stat(emit)
	case "why":
		return s.why(r.ID, emit)
	case "drops":
		return s.dropHours(r, emit)
	case "dropped":
		return s.dropped(r, emit)
	case "list":
		return eachRecord(ctx, s.Spool, r, func(x *bridge.Stored) error { return emit(spoolLine{Record: describe(s.Spool, x, r.Full)}) })
	case "requeue":
		return changeRecords(ctx, s, r, emit, func(b *bridge.Batch, x *bridge.Stored, _ bool) { s.move(b, x, r.To) })
	case "drop":
		return changeRecords(ctx, s, r, emit, s.drop)
	case "repair":
		n, err := s.Repair(nil)
		for _, m := range s.Missing() {
			if err := emit(spoolLine{Missing: m.String()}); err != nil {
				return err
			}
		}
		return errors.Join(err, emit(spoolLine{Done: &n}))
	}
	return fmt.Errorf("unknown operation %q", r.Op)
}

// knownQueue refuses the name of a queue that neither holds or held messages nor
// is one of the routes' queues, or of their dead letters; those may be empty.
func (s *desk) knownQueue(name string) error {
	if name == "" {
		return nil
	}
	routed := s.queues
	ledgers, err := bridge.ReadLedgers(s)
	if err != nil {
		return err
	}
	there := append(slices.Collect(maps.Keys(ledgers)), routed...)
	if slices.Contains(there, name) || slices.Contains(routed, strings.TrimPrefix(name, "dead/")) {
		return nil
	}
	slices.Sort(there)
	there = slices.Compact(there)
	if len(there) == 0 {
		return fmt.Errorf("there is no queue %q; nothing has been spooled yet, and no route names a queue", name)
	}
	return fmt.Errorf("there is no queue %q; there are %s", name, strings.Join(there, ", "))
}

func (s *desk) stat(emit func(spoolLine) error) error {
	u, err := s.Usage()
	if err != nil {
		return err
	}
	if err := emit(spoolLine{Usage: &u}); err != nil {
		return err
	}
	held, err := localbroker.Survey(s)
	if err != nil {
		return err
	}
	if err := emit(spoolLine{Shelf: &held}); err != nil {
		return err
	}
	ledgers, err := bridge.ReadLedgers(s)
	if err != nil {
		return err
	}
	for _, q := range slices.Sorted(maps.Keys(ledgers)) {
		d := s.Depth(q)
		l := &queueLine{Name: q, Records: d.Records, Bytes: d.Bytes, Oldest: d.Oldest.Seconds(), Ledger: ledgers[q]}
		if s.outlook != nil && d.Records > 0 {
			l.Drain = s.outlook(q).drain
		}
		if err := emit(spoolLine{Queue: l}); err != nil {
			return err
		}
	}
	for _, m := range s.Missing() {
		if err := emit(spoolLine{Missing: m.String()}); err != nil {
			return err
		}
	}
	return nil
}

// eachRecord calls fn for the records that a request means. Without a queue it
// means all of them.
func eachRecord(ctx context.Context, s *spool.Spool, r spoolRequest, fn func(*bridge.Stored) error) error {
	queues := []string{r.Queue}
	if r.Queue == "" {
		queues = s.Queues()
	}
	n := 0
	for _, q := range queues {
		if err := eachInQueue(ctx, s, q, r, &n, fn); err != nil {
			return err
		}
	}
	return nil
}

// eachInQueue ends where the queue ends now. What comes to it meanwhile was not
// meant: a dead letter that is sent again and refused again comes back to it.
func eachInQueue(ctx context.Context, s *spool.Spool, queue string, r spoolRequest, n *int, fn func(*bridge.Stored) error) error {
	last := bridge.Place(s.Ledger(queue).Accepted)
	c := s.Cursor(queue)
	defer c.Close()
	if r.From > 0 {
		c.Seek(r.From)
	}
	for r.Limit == 0 || *n < r.Limit {
		if err := ctx.Err(); err != nil {
			return err
		}
		x, err := c.Next()
		if err != nil || x == nil || x.Place > last {
			return err
		}
		*n++
		if err := fn(x); err != nil {
			return err
		}
	}
	return nil
}

func describe(s *spool.Spool, x *bridge.Stored, full bool) *recordLine {
	l := &recordLine{
		Queue: x.Receiver.Queue, Place: x.Place, Seq: x.Seq, ID: x.ID.String(), Device: x.Device, Thing: x.Thing,
		Topic: x.Topic, QoS: x.Receiver.QoS, Retain: x.Receiver.Retain,
		Accepted: x.Wall.UTC(), Clock: x.Quality(), Age: (s.Age() - x.Age).Seconds(), Size: len(x.Payload),
	}
	if x.Receiver.Topic != x.Topic {
		l.To = x.Receiver.Topic
	}
	if b, err := bridge.BirthOf(s, x.ID); err == nil {
		l.Elsewhere = !b.Known
	}
	if isDead(l.Queue) {
		why, err := s.Get("dead", l.ID)
		if err == nil {
			l.Why = string(why)
		}
	}
	if full && utf8.Valid(x.Payload) {
		text := string(x.Payload)
		l.Payload = &text
	} else if full {
		l.PayloadB64 = x.Payload
	}
	return l
}

// spoolHandler serves spool requests of the command line.
type spoolHandler struct{ gateway *gateway }

func (h spoolHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req spoolRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	h.gateway.mu.Lock()
	routes := h.gateway.cfg.Routes
	h.gateway.mu.Unlock()
	queues, err := routed(routes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	d := &desk{h.gateway.spool, h.gateway.drops, queues, h.gateway.outlook, h.gateway.delivers}
	err = d.operate(r.Context(), req, func(l spoolLine) error {
		if enc.Encode(l) != nil || l.SoFar != nil && http.NewResponseController(w).Flush() != nil {
			return errGone
		}
		return nil
	})
	if err != nil && !errors.Is(err, errGone) && r.Context().Err() == nil {
		_ = enc.Encode(spoolLine{Error: err.Error()}) // the reader may have gone
	}
}
