package upload

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// countedFolder is a target that tells whose file it is asked to take, and takes it
// when it is let.
type countedFolder struct {
	plainFolder
	asked chan string
	let   chan struct{}
}

func (c *countedFolder) Put(ctx context.Context, f *bridge.File) (string, error) {
	c.asked <- f.ClientID + "/" + f.FileID
	select {
	case <-c.let:
		return c.plainFolder.Put(ctx, f)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// runCounted starts a yard with such a target.
func runCounted(t *testing.T) (y *yard, c *countedFolder, stop func() error) {
	y = newYard(t)
	c = &countedFolder{plainFolder(y.exports), make(chan string, 100), make(chan struct{})}
	y.deps.Target = &observed{FileTarget: c, of: y.Service}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- y.Run(ctx) }()
	return y, c, func() error { cancel(); return <-ended }
}

// finish sends a file of a client as far as its fin, whose answer follows.
func (y *yard) finish(client, file string) chan error {
	for _, topic := range []string{"init", "0"} {
		if err := y.sendAs(client, "$file/"+file+"/"+topic, `{"name":"a.bin"}`); err != nil {
			y.t.Fatal(err)
		}
	}
	answer := make(chan error, 1)
	y.Take(Request{ClientID: client, Message: &bridge.Message{Topic: "$file/" + file + "/fin/16", QoS: 1}, PacketID: 1, After: func(fn func()) { fn() }},
		func(err error) { answer <- err })
	return answer
}

// settle lets all that is under way in a bubble come to where only the test can help:
// the writer's rests between pieces are over too.
func settle() {
	for range 10 { // the steps of a fin, each with its rest
		synctest.Wait()
		time.Sleep(yieldMost)
	}
	synctest.Wait()
}

// TestDirectExportsAtOnce: however many fins come with mode direct, so many files are
// exported at a time and no more; the clients take turns, the files of each go in the
// order of their fins, and each fin is answered when its file has been exported.
func TestDirectExportsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y, c, stop := runCounted(t)
		var answers []chan error
		for i := range 10 {
			answers = append(answers, y.finish("many", fmt.Sprint("f", i)))
			settle() // it has its place, or waits for one
		}
		for _, client := range []string{"x", "y"} {
			answers = append(answers, y.finish(client, "f"))
			settle()
		}
		var order []string
		for len(order) < len(answers) {
			if n := len(c.asked); len(order) == 0 && n != exportsAtOnce || n > exportsAtOnce {
				t.Fatalf("%d exports at once", n)
			}
			order = append(order, <-c.asked)
			c.let <- struct{}{}
			settle()
		}
		want := []string{"many/f0", "many/f1", "many/f2", "many/f3", "many/f4", "x/f", "y/f", "many/f5", "many/f6", "many/f7", "many/f8", "many/f9"}
		if !slices.Equal(order, want) {
			t.Errorf("exported %v, want %v", order, want)
		}
		for i, answer := range answers {
			if err := <-answer; err != nil {
				t.Errorf("fin %d: %v", i, err)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if y.berths.taken != 0 || len(y.berths.of) != 0 || len(y.berths.order) != 0 {
			t.Errorf("%d places stay taken, %v wait", y.berths.taken, y.berths.order)
		}
	})
}

// TestDirectEnds: the end of the gateway waits for no target, neither for the exports
// that are under way with mode direct nor for those that wait for a place. Their
// devices are told to send fin again, and the files are kept.
func TestDirectEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y, c, stop := runCounted(t)
		var answers []chan error
		for i := range exportsAtOnce + 2 {
			answers = append(answers, y.finish("c", fmt.Sprint("f", i)))
			settle()
		}
		if len(c.asked) != exportsAtOnce {
			t.Errorf("%d exports at once", len(c.asked))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, answer := range answers {
			y.refused(<-answer, "eagain", 0x97)
		}
		if y.all.transfers != exportsAtOnce+2 || len(y.open) != exportsAtOnce+2 {
			t.Errorf("%d transfers are left, %d of them open", y.all.transfers, len(y.open))
		}
	})
}

// TestBerthWithdrawn: who does not want a place any more leaves no gap, in the line or
// at its turn.
func TestBerthWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := berths{places: exportsAtOnce}
		for range exportsAtOnce {
			if err := b.take(t.Context(), "c"); err != nil {
				t.Fatal(err)
			}
		}
		var came []string
		for i, client := range []string{"a", "b", "a", "c"} {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				if err := b.take(ctx, client); err == nil {
					came = append(came, fmt.Sprint(client, i))
				}
			}()
			synctest.Wait()
			if i < 2 {
				cancel()
				synctest.Wait()
			}
		}
		for range 2 {
			b.leave()
			synctest.Wait()
		}
		if !slices.Equal(came, []string{"a2", "c3"}) {
			t.Errorf("came %v", came)
		}
		for range exportsAtOnce {
			b.leave()
		}
		b.withdraw("z", make(chan struct{})) // had its turn in the moment in which it withdrew
		if b.taken != -1 || len(b.order) != 0 || len(b.of) != 0 {
			t.Errorf("%d taken, %v wait", b.taken, b.order)
		}
	})
}
