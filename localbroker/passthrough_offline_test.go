package localbroker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestPassThrough_Reject: while the cloud is away each service's requests are
// answered in its own words, and nothing is kept.
func TestPassThrough_Reject(t *testing.T) {
	for _, version := range []byte{4, 5} {
		r := reaching(t)
		r.online.Store(false)
		p, other := r.join(version, "p"), r.join(version, "p:2")
		for _, d := range []*device{p, other} {
			d.subscribe(1, "$aws/things/p/shadow/#")
		}
		r.rules.deny("iot:Receive " + shadowUpdate) // it would hear itself
		for request, c := range map[string]struct {
			payload string
			want    map[string]any
		}{
			shadowUpdate:                  {`{"state":{"reported":{}},"clientToken":"x"}`, map[string]any{"code": 503.0, "message": unavailable.text, "timestamp": nil, "clientToken": "x"}},
			"$aws/things/p/shadow/get":    {"", map[string]any{"code": 503.0, "message": unavailable.text, "timestamp": nil}},
			"$aws/things/p/jobs/7/get":    {`{"clientToken":"y"}`, map[string]any{"code": "InternalError", "message": unavailable.text, "timestamp": nil, "clientToken": "y"}},
			createCert:                    {"", map[string]any{"statusCode": 503.0, "errorCode": "ServiceUnavailableException", "errorMessage": unavailable.text}},
			"$aws/things/p/shadow/delete": {"not JSON", map[string]any{"code": 503.0, "message": unavailable.text, "timestamp": nil}},
		} {
			r.rules.deny("iot:Receive "+shadowUpdate, "iot:Receive $aws/things/p/shadow/get", "iot:Receive $aws/things/p/shadow/delete")
			p.ask(request, c.payload)
			p.rejected(request, c.want)
		}
		other.expectNothing() // the refusal is for who asked
		if got := r.walk.topics(); len(got) != 0 {
			t.Errorf("the walk took %q", got)
		}
		if n := r.dropped("pass-through-offline"); n != 5 {
			t.Errorf("%d requests were counted, want 5", n)
		}
	}
}

// TestPassThrough_CBOR: who asks in CBOR is refused in CBOR.
func TestPassThrough_CBOR(t *testing.T) {
	r := reaching(t)
	r.online.Store(false)
	p := r.join(5, "p")
	p.ask("$aws/certificates/create/cbor", "\xa0")
	pk := p.take()
	want := "\xa3" + "\x6astatusCode" + "\x19\x01\xf7" + "\x69errorCode" + "\x78\x1bServiceUnavailableException" + "\x6cerrorMessage" + "\x78\x3f" + unavailable.text
	if pk.TopicName != "$aws/certificates/create/cbor/rejected" || string(pk.Payload) != want {
		t.Errorf("got %q on %s, want %q", pk.Payload, pk.TopicName, want)
	}
}

// TestPassThrough_Silent: nothing is said and nothing kept.
func TestPassThrough_Silent(t *testing.T) {
	r := reaching(t, func(o *PassThrough) { o.Offline = "silent" })
	r.online.Store(false)
	p := r.join(5, "p")
	p.ask(jobsGet, "{}")
	p.ask(createCert, "{}")
	p.expectNothing()
	r.online.Store(true)
	p.ask(jobsGet, "{}")
	r.clock.advance(time.Minute)
	r.passThrough.sweep(r.age())
	p.expectNothing()
	if len(r.walk.topics()) != 1 || r.dropped("pass-through-offline") != 2 || r.dropped("pass-through-unanswered") != 1 {
		t.Errorf("the walk took %q, drops %v", r.walk.topics(), r.drops.All())
	}
}

// TestPassThrough_Queue: what only reports waits for the cloud, without an end
// of its own; all else is refused, so that nothing old is carried out later.
func TestPassThrough_Queue(t *testing.T) {
	r := reaching(t, func(o *PassThrough) { o.Offline = "queue" })
	p := r.join(5, "p")
	for _, online := range []bool{false, true} {
		r.online.Store(online)
		p.ask(shadowUpdate, `{"state":{"reported":{"t":1}},"version":7,"clientToken":"x"}`)
	}
	if got := r.walk.all(); len(got) != 2 || got[0].HasExpiry || got[1].HasExpiry {
		t.Errorf("the walk took %+v", got)
	}
	r.online.Store(false)
	p.subscribe(1, shadowUpdate+"/rejected", "$aws/things/p/shadow/get/rejected")
	for _, payload := range []string{
		`{"state":{"desired":{"t":1}}}`, `{"state":{"desired":{"t":1},"reported":{"t":1}}}`, `{"state":null}`, `{"state":{}}`, `{}`, "", "[", `{"State":{"reported":{}}}`,
	} {
		p.ask(shadowUpdate, payload)
		p.rejected(shadowUpdate, map[string]any{"code": 503.0, "message": unavailable.text, "timestamp": nil})
	}
	p.ask("$aws/things/p/shadow/get", `{"state":{"reported":{}}}`)
	p.rejected("$aws/things/p/shadow/get", map[string]any{"code": 503.0, "message": unavailable.text, "timestamp": nil})
	p.ask("$aws/things/p/jobs/7/update", `{"state":{"reported":{}},"status":"SUCCEEDED"}`)
	p.rejected("$aws/things/p/jobs/7/update", map[string]any{"code": "InternalError", "message": unavailable.text, "timestamp": nil})
	if got := r.walk.topics(); len(got) != 2 {
		t.Errorf("the walk took %q", got)
	}
}

// TestPassThrough_Mortal: a request dies in the spool when its device has given
// up; the site's subscribers see it as it was.
func TestPassThrough_Mortal(t *testing.T) {
	r := reaching(t)
	p, watcher := r.join(5, "p"), r.join(5, "watcher")
	watcher.subscribe(1, shadowUpdate)
	p.ask(shadowUpdate, "{}")
	p.send(publish(2, shadowUpdate, "{}", func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = 5 }))
	p.expect(packets.Puback)
	if got := r.walk.all(); len(got) != 2 || !got[0].HasExpiry || got[0].Expiry != 30 || got[1].Expiry != 5 {
		t.Errorf("the walk took %+v", got)
	}
	if pk := watcher.take(); pk.Properties.MessageExpiryInterval != 0 {
		t.Errorf("the request expires on the site as well: %+v", pk.Properties)
	}
}

// TestQ56_InFlight: an eleventh open request about a thing is refused with 429,
// others' are not.
func TestQ56_InFlight(t *testing.T) {
	r := reaching(t)
	p, q := r.join(5, "p"), r.join(5, "q")
	p.subscribe(1, "$aws/things/p/shadow/get/rejected")
	for i := range 10 {
		p.ask("$aws/things/p/shadow/get", fmt.Sprintf(`{"clientToken":"%d"}`, i))
	}
	p.ask("$aws/things/p/shadow/get", `{"clientToken":"10"}`)
	p.rejected("$aws/things/p/shadow/get", map[string]any{"code": 429.0, "message": tooMany.text, "timestamp": nil, "clientToken": "10"})
	p.ask(jobsGet, "{}") // about the same thing
	p.rejected(jobsGet, map[string]any{"code": "RequestThrottled", "message": tooMany.text, "timestamp": nil})
	q.ask("$aws/things/q/shadow/get", "{}")
	r.comes("$aws/things/p/shadow/get/accepted", `{"clientToken":"4"}`)
	p.ask("$aws/things/p/shadow/get", "{}")
	if n := len(r.walk.topics()); n != 12 {
		t.Errorf("the walk took %d requests, want 12", n)
	}
}

// TestPassThrough_Refused: the policy decides first, and nobody speaks for the
// cloud (D-RES).
func TestPassThrough_Refused(t *testing.T) {
	for _, online := range []bool{true, false} {
		r := reaching(t)
		r.online.Store(online)
		r.rules.deny("iot:Publish " + jobsGet)
		p, watcher := r.join(5, "p"), r.join(5, "watcher")
		watcher.subscribe(1, "$aws/things/#")
		for topic, code := range map[string]byte{
			jobsGet: 0x87, shadowUpdate + "/accepted": 0x90, shadowUpdate + "/delta": 0x90, "$aws/things/p/jobs/notify": 0x90, createCert + "/accepted": 0x90,
		} {
			p.send(publish(1, topic, "{}"))
			if ack := p.expect(packets.Puback); ack.ReasonCode != code {
				t.Errorf("%s: PUBACK %#x, want %#x", topic, ack.ReasonCode, code)
			}
		}
		old := r.join(4, "p4")
		old.send(publish(1, shadowUpdate+"/accepted", "{}"))
		old.expectEnd()
		p.expectNothing()
		watcher.expectNothing()
		if got := r.walk.topics(); len(got) != 0 {
			t.Errorf("the walk took %q", got)
		}
	}
}

// TestPassThrough_NotSeen: requests of jobs and provisioning do not pass the
// broker, those of shadows do.
func TestPassThrough_NotSeen(t *testing.T) {
	r := reaching(t)
	p, watcher := r.join(5, "p"), r.join(5, "watcher")
	watcher.subscribe(1, "$aws/things/#", "$aws/certificates/#")
	p.ask(jobsGet, "{}")
	p.ask(createCert, "{}")
	p.ask(shadowUpdate, `{"a":1}`)
	watcher.gets(shadowUpdate, `{"a":1}`)
	watcher.expectNothing()
}

// TestPassThrough_Off: without the option, or for another service, topics are
// like any others; and what the spool cannot take is not awaited.
func TestPassThrough_Off(t *testing.T) {
	r := reaching(t, func(o *PassThrough) { o.Services = []string{"shadow"} })
	r.online.Store(false)
	p, watcher := r.join(5, "p"), r.join(5, "watcher")
	watcher.subscribe(1, "$aws/things/p/jobs/#")
	p.ask(jobsGet, "{}")
	watcher.gets(jobsGet, "{}")
	if r.comes(jobsGet+"/accepted", "{}") {
		t.Error("an answer of a service that does not pass is taken")
	}
	r.PassThrough(nil)
	p.ask(shadowUpdate+"/accepted", "{}")
	if got := r.walk.topics(); !slices.Equal(got, []string{jobsGet, shadowUpdate + "/accepted"}) {
		t.Errorf("the walk took %q", got)
	}
	r.PassThrough(&PassThrough{Offline: "reject", Timeout: time.Second, InFlight: 1})
	r.online.Store(true)
	r.walk.setStep(func(_ *bridge.Message, done func(error)) { done(bridge.Errorf("store", bridge.PayloadInvalid, "no")) })
	p.send(publish(1, shadowUpdate, "{}"))
	if ack := p.expect(packets.Puback); ack.ReasonCode != 0x99 {
		t.Errorf("PUBACK %#x", ack.ReasonCode)
	}
	if r.passThrough.open.total != 0 {
		t.Error("a request that was never sent is awaited")
	}
}

// TestOpenRequests_Bounded: however many things there are.
func TestOpenRequests_Bounded(t *testing.T) {
	var open openRequests
	const now = time.Hour
	for i := range mostOpenRequests + 100 {
		s, _ := parseService(fmt.Sprintf("$aws/things/%d/shadow/get", i))
		taken := open.add(&openRequest{who: &bridge.Principal{}, topic: s, life: time.Second, until: now}, 1)
		if taken != (i < mostOpenRequests) {
			t.Fatalf("request %d: %v", i, taken)
		}
	}
	if late := open.overdue(now + time.Second); len(late) != mostOpenRequests {
		t.Errorf("%d are late", len(late))
	}
	if late := open.overdue(now + time.Minute); len(late) != 0 || open.total != 0 || len(open.byTopic)+len(open.byThing) != 0 {
		t.Errorf("%d late, %d left, %d topics, %d things", len(late), open.total, len(open.byTopic), len(open.byThing))
	}
}

// all is what the walk has taken.
func (w *walk) all() []bridge.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.took)
}

func TestClientToken(t *testing.T) {
	for payload, want := range map[string]string{
		`{"clientToken":"a"}`: "a", `{"clientToken":7}`: "", "": "", "[": "", `"clientToken"`: "", `{"state":{"clientToken":"b"}}`: "",
		strings.Repeat("[", 20_000): "",
	} {
		if got := clientToken([]byte(payload)); got != want {
			t.Errorf("%.40q: %q, want %q", payload, got, want)
		}
	}
}
