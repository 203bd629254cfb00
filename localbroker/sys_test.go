package localbroker

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// sysOf takes n messages of $SYS.
func sysOf(d *device, n int, retained bool) map[string]string {
	d.tb.Helper()
	out := map[string]string{}
	for range n {
		pk := d.expect(packets.Publish)
		if pk.FixedHeader.Qos != 0 || pk.FixedHeader.Retain != retained {
			d.tb.Fatalf("%s: QoS %d, RETAIN %v", pk.TopicName, pk.FixedHeader.Qos, pk.FixedHeader.Retain)
		}
		out[pk.TopicName] = string(pk.Payload)
	}
	return out
}

const sysTopics = 53

// TestSys: a subscriber gets what is known at once, and later what has changed.
func TestSys(t *testing.T) {
	h := openWith(t, people{}, func(d *Deps) { d.Version = "1.2.3" }, plain(profileMQTT))
	pub := h.join(4, "pub")
	pub.send(publish(1, "kept", "four", retain))
	pub.expect(packets.Puback)
	h.leave(h.join(5, "away", persistent(300)), "away")
	eventually(t, "the count of who is gone", func() bool { return h.Broker.connected.Load() == 1 })
	d := h.join(5, "d")
	d.subscribe(2, "$SYS/#", "$share/g/t")
	got := sysOf(d, sysTopics, true)
	for topic, want := range map[string]string{
		"version": "ebbgate version 1.2.3", "clients/connected": "2", "clients/disconnected": "1", "clients/total": "3", "clients/maximum": "2",
		"publish/messages/received": "1", "publish/bytes/received": "4", "retained messages/count": "1", "store/messages/count": "1",
		"subscriptions/count": "0", "load/publish/received/1min": "0.00", "publish/messages/dropped": "0",
	} {
		if got["$SYS/broker/"+topic] != want {
			t.Errorf("%s is %q, want %q", topic, got["$SYS/broker/"+topic], want)
		}
	}
	d.expectNothing()
	eventually(t, "the sweep of what there was", func() bool {
		h.clock.advance(sysEvery)
		_ = d.SetReadDeadline(time.Now().Add(time.Second))
		_, err := d.in.Peek(1)
		return err == nil
	})
	changed := map[string]string{}
	for changed["$SYS/broker/subscriptions/count"] == "" || changed["$SYS/broker/load/publish/received/1min"] == "" {
		for topic, value := range sysOf(d, 1, false) {
			changed[topic] = value
		}
	}
	if _, same := changed["$SYS/broker/version"]; same || changed["$SYS/broker/subscriptions/count"] != "1" {
		t.Errorf("changed: %v", changed)
	}
}

// TestSysIsAsked: the policy decides who may see it, and in the profiles of AWS
// reserved_extra whether there is any.
func TestSysIsAsked(t *testing.T) {
	edge := open(t, people{}, plain(profileAWSEdge))
	edge.rules.deny("iot:Receive $SYS/broker/uptime")
	d := edge.join(5, "d")
	d.subscribe(0, "$SYS/broker/+")
	if got := sysOf(d, 1, true); got["$SYS/broker/version"] == "" {
		t.Errorf("got %v", got)
	}
	d.expectNothing()
	aws := open(t, people{}, plain(profileAWS)).join(5, "d")
	if got := aws.subscribe(0, "$SYS/#"); got[0] != 0x8F { // B131
		t.Errorf("profile aws grants %#x", got)
	}
	aws.expectNothing()
}

// TestSysIsMosquittos: the topics are those of a mosquitto.
func TestSysIsMosquittos(t *testing.T) {
	m := peers.Mosquitto(t, peers.MosquittoOptions{Config: []string{"sys_interval 1"}})
	theirs := dial(t, m.Addr, 4)
	theirs.connect("d")
	theirs.subscribe(0, "$SYS/#")
	h := open(t, people{}, plain(profileMQTT))
	ours := h.join(4, "d")
	ours.subscribe(0, "$SYS/#")
	got := sysOf(ours, sysTopics, true)
	seen := map[string]bool{}
	for len(seen) < sysTopics {
		pk := theirs.expect(packets.Publish)
		if _, has := got[pk.TopicName]; !has {
			t.Fatalf("mosquitto has %s = %s", pk.TopicName, pk.Payload)
		}
		seen[pk.TopicName] = true
	}
}

// TestLoad: the averages come near the rate that they are of, the short one
// first.
func TestLoad(t *testing.T) {
	var l load
	n := int64(0)
	for range 6 {
		n += 10
		l.take(n, sysEvery)
	}
	if a := l.averages; a[0] < 30 || a[0] > 60 || a[1] >= a[0] || a[2] >= a[1] || a[2] <= 0 {
		t.Errorf("after a minute of 60: %v", a)
	}
	for range 1000 {
		n += 10
		l.take(n, sysEvery)
	}
	if got := fmt.Sprintf("%.0f %.0f %.0f", l.averages[0], l.averages[1], l.averages[2]); got != "60 60 60" {
		t.Errorf("after hours of 60: %s", got)
	}
}

// TestWroteCounts: packets in a buffer, of every length of a length.
func TestWroteCounts(t *testing.T) {
	var tr traffic
	big := encode(t, publish(0, "t", string(make([]byte, 20_000))), 4)
	tr.wrote(append(append(encodeStep(packets.Puback, 1), big...), packets.Pingresp<<4, 0))
	if tr.packetsOut.Load() != 3 || tr.publishesOut.Load() != 1 || tr.bytesOut.Load() != int64(len(big)+6) {
		t.Errorf("%d packets, %d publishes, %d bytes", tr.packetsOut.Load(), tr.publishesOut.Load(), tr.bytesOut.Load())
	}
}
