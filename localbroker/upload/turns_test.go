package upload

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// waitingStep is a step of a client that puts so many bytes on the shelf, and brings so
// many of a file.
func waitingStep(client string, number, puts, data int) step {
	s := step{client: client, at: int64(number), puts: []bridge.Put{{Value: make([]byte, puts)}}}
	if data > 0 {
		s.data = &load{b: make([]byte, data)}
	}
	return s
}

// TestTurns: what one client asks for waits for no more than a turn of each other, and
// the steps of each come in their order, each once.
func TestTurns(t *testing.T) {
	for _, c := range []struct {
		name         string
		floods       int // clients that flood
		steps        int // of each
		puts, data   int // what each of them brings
		most         int64
		other, data2 int // what another client asks for at the same time
	}{
		{"large inits", 1, 1000, 15 << 10, 0, groupBytes, 200, 0},
		{"small inits", 1, 20_000, 100, 0, groupBytes, 200, 0},
		{"segments", 1, 500, 64, 128 << 10, yieldGroup, 64, 128 << 10},
		{"three at once", 3, 1000, 15 << 10, 0, groupBytes, 200, 0},
		{"large segments", 2, 100, 64, 1 << 20, yieldGroup, 64, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			var q turns
			for f := range c.floods {
				for i := range c.steps {
					q.add(waitingStep(fmt.Sprint("flood", f), i, c.puts, c.data))
				}
			}
			for i := range 3 {
				q.add(waitingStep("other", i, c.other, c.data2))
			}
			next, before, total := map[string]int64{}, 0, 0
			for group := q.take(c.most); len(group) > 0; group = q.take(c.most) {
				puts, bytes := 0, int64(0)
				for _, s := range group {
					if s.at != next[s.client] {
						t.Fatalf("step %d of %s comes when %d should", s.at, s.client, next[s.client])
					}
					next[s.client]++
					if s.client == "other" {
						if s.at == 0 && before > c.floods*(turnBytes+c.puts+c.data) {
							t.Errorf("%d bytes of others come before", before)
						}
					} else {
						before += s.shelved() + c.data
					}
					puts, total = puts+s.shelved(), total+1
					if s.data != nil {
						bytes += int64(len(s.data.b))
					}
				}
				if len(group) > groupSteps || puts > groupPuts || bytes >= c.most+1<<20 {
					t.Fatalf("a group of %d steps, %d bytes for the shelf and %d for files", len(group), puts, bytes)
				}
			}
			if total != c.floods*c.steps+3 || len(q.of) != 0 || len(q.order) != 0 {
				t.Errorf("%d steps have come, and %d clients are left", total, len(q.of))
			}
		})
	}
}

// TestLargestStep: one that is larger than a group may be comes alone.
func TestLargestStep(t *testing.T) {
	var q turns
	q.add(waitingStep("c", 0, 2*groupPuts, 0))
	q.add(waitingStep("c", 1, 1, 0))
	if a, b := len(q.take(groupBytes)), len(q.take(groupBytes)); a != 1 || b != 1 {
		t.Errorf("groups of %d and %d", a, b)
	}
}

// sendAs publishes a command of a client and waits for its answer.
func (y *yard) sendAs(client, topic, payload string) error {
	answer := make(chan error, 1)
	y.Take(Request{ClientID: client, Message: &bridge.Message{Topic: topic, Payload: []byte(payload), QoS: 1}, PacketID: 1, After: func(fn func()) { fn() }},
		func(err error) { answer <- err })
	return <-answer
}

// TestFloodWaits: a client that sends nothing but commands that bring nothing is read
// no faster than its allowance; another's are carried out meanwhile, and nothing is
// refused. At the end of the gateway nobody waits.
func TestFloodWaits(t *testing.T) {
	large := `{"name":"a.bin","user_data":"` + strings.Repeat("x", 15<<10) + `"}`
	for _, c := range []struct {
		name    string
		topics  []string
		payload string
		word    string // of the refusal; empty: a success
	}{
		{"init again and again", []string{"$file/f/init"}, large, ""},
		{"begun and given up", []string{"$file/f/init", "$file/f/abort"}, large, ""},
		{"fin of nothing", []string{"$file/f/fin/5"}, "", "incomplete"},
		{"empty segments", []string{"$file/f/0"}, "", ""},
		{"no command at all", []string{"$file/f/x/y/z"}, large, "invalid_file_command"},
		{"no metadata", []string{"$file/f/init"}, "[]", "invalid_filemeta"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t)
				y.deps.Messages = func() int64 { return 0 }
				y.sync.pacer.messages = y.deps.Messages
				ctx, stop := context.WithCancel(t.Context())
				ended, flooded := make(chan error, 1), make(chan int, 1)
				go func() { ended <- y.Run(ctx) }()
				weight, flooding := 0, ctx
				go func() {
					n := 0
					for ; flooding.Err() == nil; n++ {
						err := y.sendAs("flood", c.topics[n%len(c.topics)], c.payload)
						if flooding.Err() != nil {
							break
						}
						if c.word == "" && err != nil {
							t.Error(err)
						} else if c.word != "" {
							y.refused(err, c.word, 0x80)
						}
						weight += max(len(c.topics[n%len(c.topics)])+len(c.payload), leastCommand)
					}
					flooded <- n
				}()
				synctest.Wait() // the flood waits for its allowance
				began := time.Now()
				if err := y.sendAs("other", "$file/f/init", large); err != nil {
					t.Error(err)
				}
				if err := y.sendAs("other", "$file/f/0", "x"); err != nil {
					t.Error(err)
				}
				if waited := time.Since(began); waited != 0 { // of the bubble's clock: not at all
					t.Errorf("the other waits for %v", waited)
				}
				const period = 2
				time.Sleep(period * time.Second)
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if n := <-flooded; n == 0 || weight < period/2*allowedBytes || weight > (period+2)*allowedBytes {
					t.Errorf("%d commands of %d bytes were taken of the flood", n, weight)
				}
			})
		})
	}
}

// TestAllowancesAreForgotten: who has used nothing for a while costs no memory, however
// many clients there have been; who has keeps what it has used.
func TestAllowancesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance{rate: allowedBytes, burst: allowedBytes}
		for i := range 3 * mostAllowances {
			a.reserve(fmt.Sprint("c", i), 100)
			time.Sleep(time.Millisecond)
		}
		if len(a.of) > mostAllowances {
			t.Errorf("%d are remembered", len(a.of))
		}
		time.Sleep(time.Second)
		for range 2 * allowedBytes / leastCommand {
			a.reserve("flood", 1)
		}
		if a.forget(); len(a.of) != 1 || a.reserve("flood", 1) <= 0 {
			t.Errorf("%d are remembered; the one that flooded must be", len(a.of))
		}
	})
}
