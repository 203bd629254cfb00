package billing

import (
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func publish(topic, payload int) *bridge.Message {
	return &bridge.Message{Topic: strings.Repeat("t", topic), Payload: make([]byte, payload)}
}

// cost prices u in a region, without the free tier.
func cost(t *testing.T, region string, u Usage) string {
	t.Helper()
	usd, ok := BuiltIn().Cost(region, u, false)
	if !ok {
		t.Fatalf("no prices for %s", region)
	}
	return usd.String()
}

const day = 24 * time.Hour

// The golden examples of the specification, by their ids.

func TestGoldenMoney(t *testing.T) {
	perMonth := func(perSecond int64) int64 { return perSecond * 86_400 * 30 }
	batched := int64(4_937_143) // G09: 103,680,000 records, 21 in a message
	for _, c := range []struct {
		id, region string
		u          Usage
		want       string
	}{
		{"G01 a device online for a year", "us-east-1", Usage{Minutes: Minutes(365 * day)}, "0.042048"},
		{"G02 AWS's full workload", "eu-west-1", Usage{
			Minutes: 100_000 * Minutes(30*day), Messages: 100_000 * 325 * 30, Shadow: 100_000 * 100 * 30,
			Rules: 100_000 * 200 * 30, Actions: 100_000 * 200 * 30,
		}, "1875.600000"},
		{"G08 a gateway with 40 sensors", "us-east-1", Usage{Messages: perMonth(40)}, "103.680000"},
		{"G09 batched", "us-east-1", Usage{Messages: batched}, "4.937143"},
		{"G10 with rule and action", "us-east-1", Usage{Messages: perMonth(40), Rules: perMonth(40), Actions: perMonth(40)}, "134.784000"},
		{"G10 Basic Ingest", "us-east-1", Usage{Rules: perMonth(40), Actions: perMonth(40)}, "31.104000"},
		{"G10 batched with rule and action", "us-east-1", Usage{Messages: batched, Rules: batched, Actions: batched}, "6.418286"},
		{"G10 batched and Basic Ingest", "us-east-1", Usage{Rules: batched, Actions: batched}, "1.481143"},
		{"G11 three tiers", "us-east-1", Usage{Messages: 6_500_000_000}, "5250.000000"},
		{"G12 reconnect churn", "us-east-1", Usage{Messages: 8_640_000 * Connect(Connection{}, DefaultUnit)}, "8.640000"},
		{"G12 with a 6 KB will", "us-east-1", Usage{Messages: 8_640_000 * Connect(Connection{Will: publish(24, 6<<10)}, DefaultUnit)}, "17.280000"},
		{"G14 Frankfurt fleet", "eu-central-1", Usage{Minutes: 500 * Minutes(30*day), Messages: 500 * 60 * 24 * 30}, "27.993600"},
		{"G16 a broadcast a day", "us-east-1", Usage{Messages: 20_001 * 30}, "0.600030"},
		{"G18 Basic Ingest, a million", "us-east-1", Usage{Rules: 1_000_000, Actions: 1_000_000}, "0.300000"},
	} {
		t.Run(c.id, func(t *testing.T) {
			if got := cost(t, c.region, c.u); got != c.want {
				t.Errorf("$%s, want $%s", got, c.want)
			}
		})
	}
}

func TestG03FreeTierFleetCostsNothing(t *testing.T) {
	u := Usage{Minutes: 50 * Minutes(31*day), Messages: 50 * 300 * 31, Shadow: 50 * 130 * 31, Rules: 50 * 150 * 31, Actions: 50 * 150 * 31}
	usd, _ := BuiltIn().Cost("us-east-1", u, true)
	if usd.Rat().Sign() != 0 || usd.Ranged() {
		t.Errorf("$%s, want nothing", usd)
	}
	if got := cost(t, "us-east-1", u); got == "0.000000" {
		t.Error("the same fleet without the free tier costs nothing either")
	}
}

func TestG04UnitsBySize(t *testing.T) {
	for size, want := range map[int]int64{0: 1, 1: 1, 5120: 1, 5121: 2, 7 << 10: 2, 8 << 10: 2, 10_240: 2, 10_241: 3, 131_072: 26, 131_328: 26} {
		if got := Units(size, DefaultUnit); got != want {
			t.Errorf("%d bytes: %d units, want %d", size, got, want)
		}
	}
	if got := Units(5001, 5000); got != 2 {
		t.Errorf("unit of 5,000: 5,001 bytes are %d units, want 2", got)
	}
}

func TestGoldenMessages(t *testing.T) {
	const u = DefaultUnit
	kb := publish(24, 1<<10)
	retained := publish(24, 10<<10)
	retained.Retain = true
	offRetain := publish(24, 0)
	offRetain.Retain = true
	props := publish(60, 5000)
	tipped := publish(60, 5000)
	tipped.User = []bridge.UserProperty{{Key: strings.Repeat("k", 40), Value: strings.Repeat("v", 40)}}
	basic := publish(0, 4<<10)
	basic.Topic = "$aws/rules/store/dt/a"
	http := publish(40, 3<<10)
	for _, c := range []struct {
		id        string
		got, want int64
	}{
		{"G05 QoS 1 to two QoS 1 subscribers", Publish(kb, u) + 2*Deliver(kb, u) + 2*Puback(nil, u), 5},
		{"G05 QoS 0 subscribers", Publish(kb, u) + 2*Deliver(kb, u), 3},
		{"G06 retained, then 1,000 subscribe", Publish(retained, u) + 1000*(Subscribe([]string{"a/b"}, nil, u)+Deliver(retained, u)), 4006},
		{"G07 offline session resumes", 100*Publish(kb, u) + 100*Deliver(kb, u) + 100*Deliver(kb, u) + 100*Puback(nil, u) + Connect(Connection{}, u), 401},
		{"G07 never resuming", 100*Publish(kb, u) + 100*Deliver(kb, u), 200},
		{"G13 shadow update: message", Publish(publish(40, 1229), u), 1},
		{"G13 shadow update: operations", Shadow(1229), 2},
		{"G15 just one unit", Publish(props, u), 1},
		{"G15 properties tip it", Publish(tipped, u), 2},
		{"G16 broadcast QoS 0", Publish(kb, u) + 10_000*Deliver(kb, u), 10_001},
		{"G16 broadcast QoS 1", Publish(kb, u) + 10_000*(Deliver(kb, u)+Puback(nil, u)), 20_001},
		{"G17 HTTP with an answer", HTTPRequest(http, u) + HTTPResponse(20, u), 2},
		{"G17 HTTP without one", HTTPRequest(http, u) + HTTPResponse(0, u), 1},
		{"G18 Basic Ingest", Publish(basic, u), 0},
		{"M11 deletion of a retained message", Publish(offRetain, u), 2},
		{"M01 a started minute", Minutes(61 * time.Second), 2},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.id, c.got, c.want)
		}
	}
}
