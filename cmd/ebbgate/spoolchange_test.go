package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool"
)

const deadAll = "dead/up/cloud/all"

// giveTo puts n messages into a queue.
func giveTo(t *testing.T, s *spool.Spool, queue string, n int) {
	t.Helper()
	var b bridge.Batch
	for i := range n {
		b.Append(&bridge.Record{Message: bridge.Message{Topic: "dt/a", Payload: []byte("x")},
			Origin:    bridge.Origin{Device: "pump", ID: bridge.MessageID{1, byte(i >> 8), byte(i)}},
			Receivers: []bridge.Receiver{{Queue: queue, Topic: "dt/a"}}})
	}
	commit(t, s, &b)
}

// settled waits until what went through the log is seen: changes are made in order.
func settled(t *testing.T, s *spool.Spool) *spool.Spool {
	t.Helper()
	var b bridge.Batch
	b.Put("dead", "nobody", nil)
	commit(t, s, &b)
	return s
}

// deskWith is a desk on a spool with n dead letters, and no gateway.
func deskWith(t *testing.T, n int) *desk {
	t.Helper()
	_, cfg := spooled(t)
	s := openSpool(t, cfg)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	drops, err := openDrops(s)
	if err != nil {
		t.Fatal(err)
	}
	giveTo(t, s, deadAll, n)
	return &desk{Spool: s, drops: drops, queues: []string{"up/cloud/all"}}
}

// A cloud that refuses what is sent again puts it behind the dead letters that are
// being moved: those are not moved a second time.
func TestRequeueDoesNotChaseItsTail(t *testing.T) {
	s := deskWith(t, 600)
	done, lines := 0, []int{}
	err := s.operate(t.Context(), spoolRequest{Op: "requeue", Queue: deadAll, To: "up/cloud/all"}, func(l spoolLine) error {
		if l.Done != nil {
			done = *l.Done
			return nil
		}
		lines = append(lines, l.SoFar.Done)
		if l.SoFar.All != 600 {
			t.Errorf("%d messages in all", l.SoFar.All)
		}
		giveTo(t, s.Spool, deadAll, changedRecords) // the cloud refuses them
		return nil
	})
	if err != nil || done != 600 || fmt.Sprint(lines) != fmt.Sprint([]int{256, 512}) {
		t.Errorf("%d messages moved, after %v, %v", done, lines, err)
	}
	if d := settled(t, s.Spool).Depth(deadAll).Records; d != 2*changedRecords {
		t.Errorf("%d dead letters, want those that were refused again", d)
	}
	if l := s.Ledger("up/cloud/all"); l.Accepted != 600 {
		t.Errorf("%+v", l)
	}
}

// Large messages make small batches.
func TestBatchesOfChangesAreBounded(t *testing.T) {
	s := deskWith(t, 1)
	for range 5 {
		var b bridge.Batch
		b.Append(&bridge.Record{Message: bridge.Message{Topic: "dt/a", Payload: bytes.Repeat([]byte("x"), changedBytes)}, Receivers: []bridge.Receiver{{Queue: deadAll, Topic: "dt/a"}}})
		if err := committed(s.Spool, &b); err != nil {
			t.Fatal(err)
		}
	}
	var lines []int
	err := s.operate(t.Context(), spoolRequest{Op: "requeue", Queue: deadAll, To: "up/cloud/all", Limit: 4}, func(l spoolLine) error {
		if l.SoFar != nil {
			lines = append(lines, l.SoFar.Done)
		} else if *l.Done != 4 {
			t.Errorf("%d moved", *l.Done)
		}
		return nil
	})
	if err != nil || fmt.Sprint(lines) != "[2 3 4]" {
		t.Errorf("%v, %v", lines, err)
	}
}

// When somebody else has released a record of a batch the others are changed all the
// same, and each is counted once.
func TestABatchOfWhichOneIsReleased(t *testing.T) {
	for _, op := range []string{"requeue", "drop"} {
		s := deskWith(t, 5)
		first := true
		r := spoolRequest{Op: op, Queue: deadAll, To: "up/cloud/all"}
		done := 0
		err := changeRecords(t.Context(), s, r, func(l spoolLine) error { done = *l.Done; return nil }, func(b *bridge.Batch, x *bridge.Stored, again bool) {
			if first {
				first = false
				var other bridge.Batch
				other.Release(x)
				if err := committed(s.Spool, &other); err != nil {
					t.Error(err)
				}
			}
			if op == "requeue" {
				s.move(b, x, r.To)
			} else {
				s.drop(b, x, again)
			}
		})
		l := settled(t, s.Spool).Ledger(deadAll)
		if err != nil || done != 4 || l.Delivered != 1 || l.Moved+l.Dropped != 4 || l.Held != 0 {
			t.Errorf("%s: %d, %+v, %v", op, done, l, err)
		}
		var noted []int64
		for _, d := range s.drops.All() {
			noted = append(noted, d.Count)
		}
		if want := map[string]string{"requeue": "[]", "drop": "[5]"}[op]; fmt.Sprint(noted) != want { // the first was noted as well
			t.Errorf("%s: counted %v", op, noted)
		}
		entries := 0
		if err := s.drops.Entries(func(*bridge.DropEntry) bool { entries++; return true }); err != nil || entries != int(l.Dropped) {
			t.Errorf("%s: %d entries, %v", op, entries, err)
		}
	}
}

// impatient is a client that goes when it has heard how far it is.
type impatient struct {
	http.ResponseWriter
	leave  func()
	asking context.Context
}

func (w *impatient) Flush() {
	w.ResponseWriter.(http.Flusher).Flush()
	w.leave()
	<-w.asking.Done()
}

// The gateway stops moving when its client goes.
func TestRequeueEndsWithItsClient(t *testing.T) {
	_, cfg := spooled(t)
	g := &gateway{cfg: cfg, spool: openSpool(t, cfg)}
	defer func() {
		if err := g.spool.Close(); err != nil {
			t.Error(err)
		}
	}()
	var err error
	if g.drops, err = openDrops(g.spool); err != nil {
		t.Fatal(err)
	}
	giveTo(t, g.spool, deadAll, 2000)
	ctx, leave := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		spoolHandler{g}.ServeHTTP(&impatient{w, leave, r.Context()}, r)
	}))
	req := spoolRequest{Op: "requeue", Queue: deadAll, To: "up/cloud/all"}
	err = askSpool(ctx, server.Listener.Addr().String(), req, func(spoolLine) error { return nil })
	server.Close() // waits for what it does
	if l := settled(t, g.spool).Ledger(deadAll); !errors.Is(err, context.Canceled) || l.Moved != changedRecords {
		t.Errorf("%+v, %v", l, err)
	}
}

// What the gateway is delivering is not moved away: what is in flight would be
// delivered twice.
func TestRequeueOfALiveQueueIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "good.yaml"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := sandboxed(t, dir, 1, "good.yaml")
	g, err := openGateway(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const live = "up/cloud/all"
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	ask := func(queue, to string) error {
		d := &desk{Spool: g.spool, drops: g.drops, queues: []string{live, "up/cloud/other"}, delivers: g.delivers}
		return d.operate(ctx, spoolRequest{Op: "requeue", Queue: queue, To: to}, func(spoolLine) error { return nil })
	}
	if err := ask(live, "up/cloud/other"); err != nil {
		t.Errorf("without a link: %v", err)
	}
	go func() { ended <- g.run(ctx, nil, nil) }()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for deadline := time.After(time.Minute); !g.delivers(live); {
		select {
		case <-deadline:
			t.Fatal("the sandbox is not connected after a minute")
		case <-ticks.C:
		}
	}
	if err := ask(live, "up/cloud/other"); err == nil || !strings.Contains(err.Error(), "the gateway is delivering up/cloud/all") {
		t.Errorf("a live queue: %v", err)
	}
	if err := ask(deadAll, live); err != nil {
		t.Errorf("dead letters: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What waits for the steps of a route is not dropped beside a gateway, whose open batches
// have it: it would be given up, and sent. Other queues are, and all without a gateway.
func TestDropOfWhatStepsHaveIsRefused(t *testing.T) {
	const raw = "raw/up/cloud/all"
	for _, live := range []bool{true, false} {
		s := deskWith(t, 2)
		giveTo(t, s.Spool, raw, 3)
		giveTo(t, s.Spool, "up/cloud/all", 4)
		if live {
			s.delivers = func(string) bool { return true }
		}
		for queue, want := range map[string]int64{raw: 3, "up/cloud/all": 4, deadAll: 2} {
			err := s.operate(t.Context(), spoolRequest{Op: "drop", Queue: queue}, func(spoolLine) error { return nil })
			refused := live && queue == raw
			if refused {
				want = 0
			}
			if l := settled(t, s.Spool).Ledger(queue); (err != nil) != refused || l.Dropped != want {
				t.Errorf("beside a gateway %v, %s: %+v, %v", live, queue, l, err)
			}
			if refused && !strings.Contains(err.Error(), "drop what they become, in up/cloud/all, or stop the gateway") {
				t.Errorf("%v", err)
			}
		}
	}
}

// Ctrl-C of a command that has the spool to itself says what was done.
func TestRequeueIsInterrupted(t *testing.T) {
	config, _ := spooled(t)
	f := &spoolFlags{config: config}
	cmd := newSpoolCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	cmd.SetContext(ctx)
	err := f.change(cmd, spoolRequest{Op: "requeue", Queue: "up/cloud/old", To: "up/cloud/all"}, "moved")
	if out.String() != "0 messages moved\n" || fmt.Sprint(err) != "interrupted: the other messages are where they were" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
