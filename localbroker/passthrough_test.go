package localbroker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// thinged has things: the client id "p:2" is the second device of thing p.
type thinged struct{ people }

func (f thinged) Named(user, clientID string, policies []string) (bridge.Principal, error) {
	p, err := f.people.Named(user, clientID, policies)
	p.Thing.Name, _, _ = strings.Cut(clientID, ":")
	return p, err
}

// reach is a house whose devices reach the services of a cloud.
type reach struct {
	*house
	online atomic.Bool
}

func reaching(t *testing.T, change ...func(*PassThrough)) *reach {
	t.Helper()
	r := &reach{}
	r.online.Store(true)
	r.house = openWith(t, people{}, func(d *Deps) {
		d.Identities = thinged{people{}}
		d.Cloud = func(topic string) (bool, bool) {
			return strings.HasPrefix(topic, "$aws/things/") || strings.HasPrefix(topic, "$aws/certificates/"), r.online.Load()
		}
	}, plain(profileAWSEdge))
	o := &PassThrough{Offline: "reject", Timeout: 30 * time.Second, InFlight: 10}
	for _, f := range change {
		f(o)
	}
	r.PassThrough(o)
	return r
}

// ask publishes a request, which is always acknowledged.
func (d *device) ask(topic, payload string) {
	d.tb.Helper()
	d.send(publish(1, topic, payload))
	for {
		pk, err := d.read()
		switch {
		case err != nil:
			d.tb.Fatalf("%s: %v", topic, err)
		case pk.FixedHeader.Type == packets.Publish: // the answer may be quicker (B105)
			d.puback(pk.PacketID)
			d.early = append(d.early, pk)
		case pk.FixedHeader.Type != packets.Puback || pk.ReasonCode != 0:
			d.tb.Fatalf("%s: packet type %d, %#x", topic, pk.FixedHeader.Type, pk.ReasonCode)
		default:
			return
		}
	}
}

// comes is what the cloud sends.
func (r *reach) comes(topic, payload string) bool {
	return r.Answer(&bridge.Message{Topic: topic, Payload: []byte(payload), QoS: 1})
}

// gets reads an answer.
func (d *device) gets(topic, payload string) {
	d.tb.Helper()
	if pk := d.take(); pk.TopicName != topic || string(pk.Payload) != payload {
		d.tb.Errorf("got %s on %s, want %s on %s", pk.Payload, pk.TopicName, payload, topic)
	}
}

// rejected reads a rejection and compares it but for its time.
func (d *device) rejected(request string, want map[string]any) {
	d.tb.Helper()
	pk := d.take()
	var got map[string]any
	if err := json.Unmarshal(pk.Payload, &got); err != nil || pk.TopicName != request+"/rejected" {
		d.tb.Fatalf("got %s on %s (%v)", pk.Payload, pk.TopicName, err)
	}
	if at, ok := got["timestamp"].(float64); ok {
		if now := float64(time.Now().Unix()); at < now-60 || at > now+3600 {
			d.tb.Errorf("timestamp %v", at)
		}
		got["timestamp"] = nil
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		d.tb.Errorf("got %v, want %v", got, want)
	}
}

const (
	shadowUpdate = "$aws/things/p/shadow/update"
	jobsGet      = "$aws/things/p/jobs/get"
	createCert   = "$aws/certificates/create/json"
)

// TestB107_ShadowAnswer: the answer comes to the devices of the thing and to who
// asked, when they subscribe; not to another device, whatever its policy says.
func TestB107_ShadowAnswer(t *testing.T) {
	for _, version := range []byte{4, 5} {
		r := reaching(t)
		p, second, other, tool := r.join(version, "p"), r.join(version, "p:2"), r.join(version, "q"), r.join(version, "tool")
		for _, d := range []*device{p, second, other, tool} {
			d.subscribe(1, "$aws/things/+/shadow/+/accepted", "$aws/things/+/shadow/+/rejected")
		}
		deaf := r.join(version, "p:3") // of the thing, but it has not subscribed
		p.ask(shadowUpdate, `{"state":{"reported":{"t":21}},"clientToken":"a"}`)
		const answer = `{"version":3,"clientToken":"a"}`
		if !r.comes(shadowUpdate+"/accepted", answer) {
			t.Fatal("not taken for an answer")
		}
		p.gets(shadowUpdate+"/accepted", answer)
		second.gets(shadowUpdate+"/accepted", answer)
		tool.ask(shadowUpdate, `{"state":{"desired":{"t":22}},"clientToken":"b"}`)
		const refusal = `{"code":409,"message":"Version conflict","clientToken":"b"}`
		r.comes(shadowUpdate+"/rejected", refusal)
		for _, d := range []*device{p, second, tool} {
			d.gets(shadowUpdate+"/rejected", refusal)
		}
		r.comes(shadowUpdate+"/accepted", `{"clientToken":"b"}`) // answered already: nothing for the tool
		for _, d := range []*device{p, second} {
			d.take()
		}
		for _, d := range []*device{other, tool, deaf, p, second} {
			d.expectNothing()
		}
		if got := r.walk.topics(); !slices.Equal(got, []string{shadowUpdate, shadowUpdate}) {
			t.Errorf("the walk took %q", got)
		}
	}
}

// TestB107_Notices: deltas and documents are no answers, and go to whoever
// subscribes.
func TestB107_Notices(t *testing.T) {
	r := reaching(t)
	for _, topic := range []string{shadowUpdate + "/delta", shadowUpdate + "/documents", "$aws/things/p/jobs/notify", shadowUpdate, "cmd/p"} {
		if r.comes(topic, "{}") {
			t.Errorf("%s is taken for an answer", topic)
		}
	}
}

// TestB212_Jobs: an answer goes to the connection that asked, which has not
// subscribed, and to nobody who has.
func TestB212_Jobs(t *testing.T) {
	for _, version := range []byte{4, 5} {
		r := reaching(t)
		p, second, curious := r.join(version, "p"), r.join(version, "p:2"), r.join(version, "p:3")
		curious.subscribe(1, "$aws/things/+/jobs/#")
		p.ask(jobsGet, `{"clientToken":"one"}`)
		second.ask(jobsGet, `{"clientToken":"two"}`)
		r.comes(jobsGet+"/accepted", `{"clientToken":"two","inProgressJobs":[]}`)
		second.gets(jobsGet+"/accepted", `{"clientToken":"two","inProgressJobs":[]}`)
		r.comes(jobsGet+"/accepted", `{"clientToken":"one"}`)
		p.gets(jobsGet+"/accepted", `{"clientToken":"one"}`)
		r.comes(jobsGet+"/accepted", `{"clientToken":"one"}`) // once is enough
		r.comes(jobsGet+"/accepted", `{"clientToken":"stranger"}`)
		// The service could not read the token: one device has asked, so it is its.
		p.ask(jobsGet, `{"clientToken":7}`)
		r.comes(jobsGet+"/rejected", `{"code":"InvalidJson"}`)
		p.gets(jobsGet+"/rejected", `{"code":"InvalidJson"}`)
		for _, d := range []*device{p, second, curious} {
			d.expectNothing()
		}
		if n := r.dropped("answer-unclaimed"); n != 2 {
			t.Errorf("%d answers were unclaimed, want 2", n)
		}
	}
}

// TestB212_NobodyIsGuessed: an answer that two may have asked for goes to
// neither.
func TestB212_NobodyIsGuessed(t *testing.T) {
	r := reaching(t)
	p, second := r.join(5, "p"), r.join(5, "p:2")
	p.ask(jobsGet, `{"clientToken":"one"}`)
	second.ask(jobsGet, `{"clientToken":"two"}`)
	r.comes(jobsGet+"/rejected", `{"code":"InvalidJson"}`)
	p.expectNothing()
	second.expectNothing()
}

// TestB212_Provisioning: the answer holds a private key. No two devices' requests
// are out at once, since nothing in the answer says whose it is.
func TestB212_Provisioning(t *testing.T) {
	r := reaching(t)
	first, second := r.join(5, "new-1"), r.join(5, "new-2")
	second.subscribe(1, "$aws/certificates/#")
	first.ask(createCert, "")
	second.ask(createCert, "")
	second.rejected(createCert, map[string]any{"statusCode": 429.0, "errorCode": "ThrottlingException", "errorMessage": tooMany.text})
	r.comes(createCert+"/accepted", `{"privateKey":"secret"}`)
	first.gets(createCert+"/accepted", `{"privateKey":"secret"}`)
	second.ask(createCert, "")
	r.comes(createCert+"/accepted", `{"privateKey":"other"}`)
	second.gets(createCert+"/accepted", `{"privateKey":"other"}`)
	first.expectNothing()
	second.expectNothing()
}

// TestB212_LateAnswer: who got no answer in time is told so; what comes later
// belongs to nobody, and does not meet the next one's request.
func TestB212_LateAnswer(t *testing.T) {
	r := reaching(t)
	first, second := r.join(5, "new-1"), r.join(5, "new-2")
	first.ask(createCert, "")
	r.clock.advance(31 * time.Second)
	r.passThrough.sweep(r.age())
	first.rejected(createCert, map[string]any{"statusCode": 503.0, "errorCode": "ServiceUnavailableException", "errorMessage": unanswered.text})
	second.ask(createCert, "")
	second.rejected(createCert, map[string]any{"statusCode": 429.0, "errorCode": "ThrottlingException", "errorMessage": tooMany.text})
	r.comes(createCert+"/accepted", `{"privateKey":"late"}`)
	first.expectNothing()
	second.expectNothing()
	second.ask(createCert, "")
	r.clock.advance(31 * time.Second)
	r.passThrough.sweep(r.age())
	second.rejected(createCert, map[string]any{"statusCode": 503.0, "errorCode": "ServiceUnavailableException", "errorMessage": unanswered.text})
	r.clock.advance(31 * time.Second)
	r.passThrough.sweep(r.age())
	first.ask(createCert, "") // no answer ever came: after as long again the way is free
	if len(r.walk.topics()) != 3 {
		t.Errorf("the walk took %q", r.walk.topics())
	}
}

// TestB212_AnotherConnection: a client id that comes back may be another device.
func TestB212_AnotherConnection(t *testing.T) {
	for name, answers := range map[string]string{jobsGet: `{"clientToken":"a"}`, createCert: "{}"} {
		r := reaching(t)
		r.join(5, "p", persistent(60)).ask(name, answers)
		again := r.join(5, "p", persistent(60))
		r.comes(name+"/accepted", answers)
		again.expectNothing()
	}
}

// TestClientTokenSize: a clientToken that AWS's services do not take is rejected
// here, and nothing of it is kept.
func TestClientTokenSize(t *testing.T) {
	r := reaching(t)
	p := r.join(5, "p")
	p.subscribe(1, shadowUpdate+"/#")
	token := strings.Repeat("x", 64)
	p.ask(shadowUpdate, `{"clientToken":"`+token+`"}`)
	r.comes(shadowUpdate+"/accepted", `{"clientToken":"`+token+`"}`)
	p.gets(shadowUpdate+"/accepted", `{"clientToken":"`+token+`"}`)
	p.ask(shadowUpdate, `{"clientToken":"x`+token+`"}`)
	p.rejected(shadowUpdate, map[string]any{"code": 400.0, "message": "Invalid clientToken", "timestamp": nil})
	p.ask(jobsGet, `{"clientToken":"x`+token+`"}`)
	p.rejected(jobsGet, map[string]any{"code": "InvalidRequest", "message": "Invalid clientToken", "timestamp": nil})
	if n := r.passThrough.open.total; n != 0 || len(r.walk.topics()) != 1 {
		t.Errorf("%d are open, the walk took %q", n, r.walk.topics())
	}
}

// TestOpenRequestBytes: requests with long topics are fewer, and what is answered
// makes room.
func TestOpenRequestBytes(t *testing.T) {
	var open openRequests
	add := func(i int) bool {
		topic := fmt.Sprint(i) + strings.Repeat("x", 64<<10)
		return open.add(&openRequest{topic: serviceTopic{request: topic}}, 1)
	}
	n := 0
	for n < 1000 && add(n) {
		n++
	}
	if n < 100 || n > 128 {
		t.Errorf("%d requests", n)
	}
	open.take("0"+strings.Repeat("x", 64<<10), "")
	if !add(0) || add(n+1) {
		t.Error("an answer makes room for one")
	}
}

// TestB212_Policy: the answer is subject to iot:Receive.
func TestB212_Policy(t *testing.T) {
	r := reaching(t)
	p := r.join(5, "p")
	r.rules.deny("iot:Receive " + jobsGet + "/*")
	p.ask(jobsGet, "{}")
	r.comes(jobsGet+"/accepted", "{}")
	p.expectNothing()
	if r.dropped("receive-denied") != 1 {
		t.Error("the refusal is not in the drop log")
	}
}
