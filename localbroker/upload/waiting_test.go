package upload

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ebbgate/ebbgate/bridge"
)

// sendsFile sends a small file of a client, and returns the first refusal.
func (y *yard) sendsFile(client, file, init string) error {
	for _, c := range [][2]string{{"init", init}, {"0", "hello"}, {"fin/5", ""}} {
		answer := make(chan error, 1)
		y.Take(Request{ClientID: client, Message: &bridge.Message{Topic: "$file/" + file + "/" + c[0], Payload: []byte(c[1]), QoS: 1}, PacketID: 1, After: func(fn func()) { fn() }},
			func(err error) { answer <- err })
		if err := <-answer; err != nil {
			return err
		}
	}
	return nil
}

// TestWaiting: an outage of the target may be long: whole files count neither against
// transfers nor against client_transfers, but against a bound of their own, of which one
// client has half, and those whose metadata fill the memory more. A restart counts the
// same, and what is exported makes room (F49, F56).
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const plain = `{"name":"a.bin"}`
		large := `{"name":"a.bin","user_data":"` + strings.Repeat("x", 2<<10) + `"}`
		var h *heldFolder
		y := openYard(t, func(y *yard) {
			h = y.holdExports()
			y.opts.Export.Mode = modeSpooled
			y.opts.Transfers, y.opts.ClientTransfers, y.opts.Waiting = 2, 1, 13
		})
		take := func(client, file, init string) {
			t.Helper()
			if err := y.sendsFile(client, file, init); err != nil {
				t.Fatalf("%s of %s: %v", file, client, err)
			}
		}
		for i := range 6 {
			take("c1", fmt.Sprint("f", i), plain)
		}
		y.refused(y.sendsFile("c1", "f6", plain), "edquot", 0x97)
		take("c2", "f1", large)
		take("c2", "f2", large)
		y.refused(y.sendsFile("c2", "f3", plain), "edquot", 0x97)
		take("c3", "f1", plain)
		y.refused(y.sendsFile("c3", "f2", plain), "enospc", 0x97)

		z := y.openOn(y.deps.Shelf)
		y.mu.Lock()
		for _, client := range []string{"c1", "c2"} {
			if was, is := *y.usage[client], *z.usage[client]; was != is || was.waiting != 6 || was.transfers != 0 {
				t.Errorf("%s is charged for %+v, and after a restart for %+v", client, was, is)
			}
		}
		if y.all != z.all {
			t.Errorf("all are charged for %+v, and after a restart for %+v", y.all, z.all)
		}
		y.mu.Unlock()

		<-h.asked
		h.let <- nil
		settle()
		take("c1", "f6", plain)
		for range 9 {
			h.let <- nil
		}
		settle()
		y.mu.Lock()
		defer y.mu.Unlock()
		if len(y.usage) != 0 || y.all != (usage{}) {
			t.Errorf("when all is exported %d clients are charged, all for %+v", len(y.usage), y.all)
		}
	})
}
