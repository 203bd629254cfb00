package conformance

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// responses is before the client id in the topic of responses.
const responses = "$file-response/"

// uploadBed is a depot with the devices of a case.
type uploadBed struct {
	*depot
	t       *testing.T
	c       *fileCase
	devices map[string]*recorder
	gone    map[string][]*recorder // earlier connections of them
	acks    map[int]uint16         // reason codes by step, 0 for MQTT 3.1.1
	web     map[int]asked          // answers over HTTP, by step
}

func newUploadBed(t *testing.T, c *fileCase) *uploadBed {
	b := &uploadBed{t: t, c: c, devices: map[string]*recorder{}, gone: map[string][]*recorder{}, acks: map[int]uint16{}, web: map[int]asked{}}
	b.depot = openDepot(t, func(s *depotSetup) {
		if c.Profile != "" {
			s.profile = c.Profile
		}
	})
	return b
}

// client finds the device of a step, which has subscribed to its responses.
func (b *uploadBed) client(id string) *recorder {
	b.t.Helper()
	r := b.devices[id]
	if r == nil {
		return b.join(id, true)
	}
	select {
	case <-r.ended: // a jump of the clock, or a restart, has ended it
		return b.join(id, true)
	default:
		return r
	}
}

// join connects a device; an earlier connection of it is taken over.
func (b *uploadBed) join(id string, clean bool) *recorder {
	b.t.Helper()
	r := record(b.depot.join(cmp.Or(b.c.Proto, 5), id, func(pk *packets.Packet) { pk.Connect.Clean = clean }))
	r.send(subscribing(1, responses+id))
	if r.all(); r.granted() != 1 {
		b.t.Fatalf("%s may not hear its responses: %#x", id, r.granted())
	}
	if old := b.devices[id]; old != nil {
		<-old.ended
		b.gone[id] = append(b.gone[id], old)
	}
	b.devices[id] = r
	return r
}

func (b *uploadBed) step(n int, s map[string]json.RawMessage) {
	b.t.Helper()
	id := unquoted(s["client"])
	switch {
	case s["publish"] != nil:
		b.publish(n, b.client(id), s)
	case s["subscribe"] != nil:
		r := b.client(id)
		r.send(subscribing(1, must[string](b.t, s["subscribe"])))
		r.all()
		b.acks[n] = r.granted()
	case s["connect"] != nil:
		b.caughtUp(n, id)
		b.join(id, must[struct {
			Clean bool `json:"clean_start"`
		}](b.t, s["connect"]).Clean)
	case s["disconnect"] != nil:
		b.caughtUp(n, id)
		r := b.client(id)
		switch how := unquoted(s["disconnect"]); how {
		case "clean":
			r.goodbye()
		case "drop":
		default:
			b.t.Fatalf("step %d: to disconnect %q is not known", n, how)
		}
		_ = r.Close()
		<-r.ended
		b.absent(id)
	case s["restart_server"] != nil:
		for id, r := range b.devices {
			b.caughtUp(n, id)
			_ = r.Close()
			<-r.ended
		}
		b.restart()
	case s["http_get"] != nil:
		b.exportsAll()
		b.web[n] = b.get(strings.ReplaceAll(must[string](b.t, s["http_get"]), "@node", depotNode))
	default:
		b.clock.advance(time.Duration(must[int](b.t, s["advance_seconds"])) * time.Second)
		if string(s["run_gc"]) == "true" {
			b.service.Sweep()
		}
	}
}

// caughtUp waits for what a client is to hear of the steps before this one, which
// comes after their acknowledgements: its connection is about to end.
func (b *uploadBed) caughtUp(n int, id string) {
	b.t.Helper()
	for _, e := range b.c.Expect {
		if before := number(e["step"]); e["topic"] != nil && before < n && b.c.text(before, "client") == id {
			b.expectMessage(before, e)
		}
	}
}

// exportsAll waits until what fin has taken is exported: only then it is listed.
func (b *uploadBed) exportsAll() {
	b.t.Helper()
	eventually(b.t, "all is exported", func() bool {
		all, _ := b.service.Running("", upload.MostListed)
		return !slices.ContainsFunc(all, func(f upload.Transfer) bool { return f.State != upload.StateOpen })
	})
}

// packetOf is the packet id of a step.
func packetOf(n int) uint16 { return uint16(n + 1) }

func (b *uploadBed) publish(n int, r *recorder, s map[string]json.RawMessage) {
	b.t.Helper()
	qos := byte(number(s["qos"]))
	pk := publish(packetOf(n), unquoted(s["publish"]), string(payload(b.t, s)), func(pk *packets.Packet) {
		pk.FixedHeader.Qos, pk.FixedHeader.Retain, pk.FixedHeader.Dup = qos, string(s["retain"]) == "true", string(s["dup"]) == "true"
		pk.Properties.ResponseTopic, pk.Properties.CorrelationData = unquoted(s["response_topic"]), []byte(unquoted(s["correlation_data"]))
	})
	if qos == 0 {
		pk.PacketID = 0
	}
	r.send(pk)
	switch qos {
	case 0:
		r.all()
	case 2:
		b.acks[n] = uint16(r.acked(pk.PacketID).ReasonCode)
		r.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: pk.PacketID})
	default:
		b.acks[n] = uint16(r.acked(pk.PacketID).ReasonCode)
	}
}
