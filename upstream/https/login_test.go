package https

import (
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// What was refused is over when a message is taken, and for one that nobody asks for.
func TestARefusalOfTheLoginEndsWithWhatIsTaken(t *testing.T) {
	a, h := serve(t), new(bridge.Health)
	u := uplink(t, quick(a, a.Listener.Addr().String()), nil, upstream.Hooks{Raise: func(w bridge.Warning) { h.Raise(w) }, Clear: func(code string) { h.Clear(code) }})
	refused := func() bool {
		return slices.ContainsFunc(h.Warnings(), func(w bridge.Warning) bool { return w.Code == "uplink-refused" })
	}
	a.answer(403, "ExpiredTokenException", "{}")
	l := connect(t, u)
	send(t, l, delivery("d", "dt/x"))
	<-l.Done()
	if !refused() {
		t.Fatalf("warnings %v", h.Warnings())
	}
	l = connect(t, u)
	if !refused() {
		t.Error("a connection is no login")
	}
	a.answer(200, "", "")
	if o := send(t, l, delivery("d", "dt/x")); o.Result != bridge.ResultAcked || len(h.Warnings()) != 0 {
		t.Errorf("%+v, warnings %v", o, h.Warnings())
	}
	a.answer(403, "ExpiredTokenException", "{}")
	send(t, l, delivery("d", "dt/x"))
	<-l.Done()
	if u.Rest(); len(h.Warnings()) != 0 {
		t.Errorf("of one that nobody asks: %v", h.Warnings())
	}
}
