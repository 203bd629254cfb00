package localbroker

import (
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestB106_BasicIngest: a publish to a rule is acknowledged and handed to the
// walk under its topic, and no subscriber sees it, whatever it subscribes to.
func TestB106_BasicIngest(t *testing.T) {
	const topic = "$aws/rules/store/dt/p1"
	for _, version := range []byte{4, 5} {
		var health bridge.Health
		standard := plain(profileMQTT)
		standard.Name = "standard"
		h := openWith(t, people{}, func(d *Deps) {
			d.Cloud, d.Health = func(at string) (bool, bool) { return at == topic, false }, &health
		}, plain(profileAWS), standard)
		watcher := h.join(version, "watcher")
		watcher.subscribe(1, "#", "dt/#", "$aws/+/store/dt/p1")
		other := dial(t, h.listeners[1].addr().String(), version)
		other.connect("other")
		other.subscribe(1, "$aws/rules/#")
		d := h.join(version, "d")
		d.send(publish(1, topic, "21"))
		if ack := d.expect(packets.Puback); ack.ReasonCode != 0 {
			t.Errorf("PUBACK %#x", ack.ReasonCode)
		}
		d.send(publish(0, topic, "22"))
		d.expectNothing()
		watcher.expectNothing()
		other.expectNothing()
		if got := h.walk.topics(); !slices.Equal(got, []string{topic, topic}) {
			t.Errorf("the walk took %q", got)
		}
		if h.dropped(WarningNoRuleRoute) != 0 || len(health.Warnings()) != 0 {
			t.Error("a routed message counts as dropped")
		}
		// In profile mqtt the topic is one like any other.
		other.send(publish(0, topic, "23"))
		if got := other.take(); string(got.Payload) != "23" {
			t.Errorf("got %q", got.Payload)
		}
	}
}

// TestB106_NoRoute: AWS acknowledges for a rule that does not exist, and counts
// RuleNotFound. So do we when no route takes the message, and say so.
func TestB106_NoRoute(t *testing.T) {
	for _, version := range []byte{4, 5} {
		var health bridge.Health
		h := openWith(t, people{}, func(d *Deps) {
			d.Cloud, d.Health = func(string) (bool, bool) { return false, false }, &health
		}, plain(profileAWS))
		d := h.join(version, "d")
		d.send(publish(1, "$aws/rules/store/dt/p1", "21"))
		if ack := d.expect(packets.Puback); ack.ReasonCode != 0 {
			t.Errorf("PUBACK %#x", ack.ReasonCode)
		}
		eventually(t, "the drop is counted", func() bool { return h.dropped(WarningNoRuleRoute) == 1 })
		eventually(t, "the warning names the rule and the remedy", func() bool {
			w := health.Warnings()
			return len(w) == 1 && w[0].Code == WarningNoRuleRoute && strings.Contains(w[0].Text, `rule "store"`) &&
				strings.Contains(w[0].Text, "from: $aws/rules/store/#")
		})
	}
}

// TestB106_Refused: what is no rule's topic, what is not allowed, and what would
// be retained (B83).
func TestB106_Refused(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	h.rules.deny("iot:Publish $aws/rules/secret/*")
	d := h.join(5, "d")
	for i, c := range []struct {
		pk   packets.Packet
		code byte
	}{
		{publish(1, "$aws/rules/", "x"), 0x90},
		{publish(1, "$aws/rules//x", "x"), 0x90},
		{publish(1, "$aws/rules/store/x", "x", retain), 0x90},
		{publish(1, "$aws/rules/secret/x", "x"), 0x87},
	} {
		d.send(c.pk)
		if ack := d.expect(packets.Puback); ack.ReasonCode != c.code {
			t.Errorf("%d: PUBACK %#x, want %#x", i, ack.ReasonCode, c.code)
		}
	}
	if got := h.walk.topics(); len(got) != 0 {
		t.Errorf("the walk took %q", got)
	}
}

// TestB146_NoSubscription: nobody subscribes to Basic Ingest.
func TestB146_NoSubscription(t *testing.T) {
	filters := []string{"$aws/rules/store/x", "$aws/rules/#", "$aws/rules/+/x", "$share/g/$aws/rules/#"}
	for _, profile := range []string{profileAWS, profileAWSEdge} {
		h := open(t, people{}, plain(profile))
		if codes := h.join(5, "d").subscribe(1, append(filters, "ok")...); !slices.Equal(codes, []byte{0x8F, 0x8F, 0x8F, 0x8F, 1}) {
			t.Errorf("SUBACK %#x", codes)
		}
		for _, f := range filters {
			d := h.join(4, "d")
			d.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 7, Filters: packets.Subscriptions{{Filter: f}}})
			d.expectEnd() // B132
		}
	}
}

// TestQ14_BasicIngest, and Q15: the first three levels are not counted.
func TestQ14_BasicIngest(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	d := h.join(5, "d")
	rule := "$aws/rules/" + strings.Repeat("r", 40) + "/"
	for _, c := range []struct {
		below string
		code  byte
	}{
		{strings.Repeat("x", 256), 0},
		{strings.Repeat("x", 257), 0x90},
		{"1/2/3/4/5/6/7/8", 0},
		{"1/2/3/4/5/6/7/8/9", 0x90},
	} {
		d.send(publish(1, rule+c.below, "x"))
		if ack := d.expect(packets.Puback); ack.ReasonCode != c.code {
			t.Errorf("%d bytes, %d slashes: PUBACK %#x, want %#x", len(c.below), strings.Count(c.below, "/"), ack.ReasonCode, c.code)
		}
	}
}
