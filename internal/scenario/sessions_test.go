package scenario

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestSessionsSurviveAKill: sessions, what waits in them in its order, and
// retained messages are there after a SIGKILL, and the start does not take long
// for them (B51, B63, B66, B147).
func TestSessionsSurviveAKill(t *testing.T) {
	t.Parallel()
	sessions, queued, retained := scaled(1000, 60), scaled(100, 40), scaled(10_000, 300)
	g := local(t)
	g.start()
	for i := range sessions {
		c := join(t, g.Listen, fmt.Sprintf("device-%d", i), false)
		c.subscribe(fmt.Sprintf("to/%d/+", i), "to/all")
		c.leave()
	}
	const publishers = 4
	began := time.Now()
	var wg sync.WaitGroup
	for p := range publishers {
		var letters []letter
		for n := range queued {
			for i := p; i < sessions; i += publishers {
				letters = append(letters, letter{topic: fmt.Sprintf("to/%d/%d", i, n), payload: fmt.Sprint(n)})
			}
		}
		for i := p; i < retained; i += publishers {
			letters = append(letters, letter{topic: fmt.Sprintf("state/%d", i), payload: fmt.Sprint(i), retain: true})
		}
		c := join(t, g.Listen, fmt.Sprintf("publisher-%d", p), true)
		wg.Go(func() {
			if err := c.publishAll(letters); err != nil {
				t.Errorf("publish: %v", err)
			}
		})
	}
	wg.Wait()
	last := join(t, g.Listen, "last", true)
	if err := last.publishAll([]letter{{topic: "to/all", payload: "all"}}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	g.kill()
	ready := g.start()
	t.Logf("%d sessions with %d messages each and %d retained: stored in %v, ready again in %v", sessions, queued+1, retained, took, ready)
	if soak() && ready > 2*time.Second {
		t.Errorf("ready after %v, want 2 s", ready)
	}
	for i := range sessions {
		c := join(t, g.Listen, fmt.Sprintf("device-%d", i), false)
		if !c.present {
			t.Fatalf("session %d is gone", i)
		}
		for n := range queued {
			if got := c.take(); string(got.Payload) != fmt.Sprint(n) {
				t.Fatalf("session %d: message %d is %q", i, n, got.Payload)
			}
		}
		if got := c.take(); string(got.Payload) != "all" {
			t.Fatalf("session %d: the last message is %q", i, got.Payload)
		}
		c.quiet()
		c.leave()
	}
	c := join(t, g.Listen, "reader", true)
	for i := range retained {
		if i > 0 && i%50 == 0 {
			c.leave()
			c = join(t, g.Listen, "reader", true)
		}
		c.subscribe(fmt.Sprintf("state/%d", i))
		if got := c.take(); string(got.Payload) != fmt.Sprint(i) || !got.Retain {
			t.Fatalf("retained message %d is %q", i, got.Payload)
		}
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestLongQueueArrives: 20,000 messages for an absent device arrive, all of them
// and in order (M1, M3), also when the gateway was killed meanwhile.
func TestLongQueueArrives(t *testing.T) {
	t.Parallel()
	const messages = 20_000
	g := local(t)
	g.start()
	c := join(t, g.Listen, "device", false)
	c.subscribe("t")
	c.leave()
	letters := make([]letter, messages)
	for i := range letters {
		letters[i] = letter{topic: "t", payload: fmt.Sprint(i)}
	}
	began := time.Now()
	if err := join(t, g.Listen, "publisher", true).publishAll(letters); err != nil {
		t.Fatal(err)
	}
	stored := time.Since(began)
	began = time.Now()
	c = join(t, g.Listen, "device", false)
	for i := range messages {
		if i == messages/2 { // its unacknowledged ones come again, first
			g.kill()
			g.start()
			c = join(t, g.Listen, "device", false)
			again := c.take()
			for string(again.Payload) != fmt.Sprint(i) {
				again = c.take()
			}
			continue
		}
		if got := c.take(); string(got.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got.Payload)
		}
	}
	t.Logf("%d messages: stored in %v, delivered in %v, a restart included", messages, stored, time.Since(began))
	c.quiet()
}
