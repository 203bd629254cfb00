package localbroker

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// fuzzSession is what two connections say, the second while the first is there.
type fuzzSession struct{ first, second []byte }

// fuzzSessions are valid sessions of both versions, which the fuzzer takes apart.
func fuzzSessions(tb testing.TB) (all []fuzzSession) {
	for _, version := range []byte{4, 5} {
		say := func(ps ...packets.Packet) (out []byte) {
			for _, pk := range ps {
				out = append(out, encode(tb, pk, version)...)
			}
			return out
		}
		join := func(id string, change ...func(*packets.Packet)) packets.Packet {
			pk := hello(version, id)
			pk.ProtocolVersion = version
			for _, f := range change {
				f(&pk)
			}
			return pk
		}
		subscribe := func(qos byte, filters ...string) packets.Packet {
			pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 9}
			for _, f := range filters {
				pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos, RetainHandling: 1, RetainAsPublished: true})
			}
			return pk
		}
		unsubscribe := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 10, Filters: packets.Subscriptions{{Filter: "t/#"}, {Filter: "nothing"}}}
		ping := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}
		ack := func(id uint16) packets.Packet {
			return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id}
		}
		step := func(kind byte, id uint16) packets.Packet {
			return packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id}
		}
		bye := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
		byeWithWill := bye
		byeWithWill.ReasonCode = packets.CodeDisconnectWillMessage.Code
		byeWithWill.Properties = packets.Properties{SessionExpiryInterval: 5, SessionExpiryIntervalFlag: true}

		all = append(all,
			// publishes with everything, to a subscriber with everything
			fuzzSession{
				say(join("sub", persistent(600)), subscribe(1, "t/#", "+/t", "$share/g/t/#"), ping),
				say(join("pub", withWill), publish(1, "t/a", "x", everything), publish(2, "", "aliased", aliased), publish(0, "t", "", retain), ack(1), bye),
			},
			// delivered to itself, acknowledged; then taken over by who resumes
			fuzzSession{
				say(join("one", persistent(600), withWill), subscribe(1, "t/#"), publish(1, "t/1", "1"), publish(2, "t/2", "2"), ack(1)),
				say(join("one", persistent(600)), ack(2), publish(3, "t/3", "3", retain), unsubscribe, byeWithWill),
			},
			// two members of a group, one of them leaves
			fuzzSession{
				say(join("a", persistent(60), limited), subscribe(1, "$share/g/t", "$SYS/#", "$aws/events/#"), unsubscribe, bye),
				say(join("b"), subscribe(0, "$share/g/t", "#"), publish(1, "t", "to either"), publish(2, "t", "to either"), ping),
			},
			// QoS 2 in both directions, for profile mqtt
			fuzzSession{
				say(join("two", persistent(60)), subscribe(2, "t"), publish(1, "t", "2", exactlyOnce), step(packets.Pubrel, 1), step(packets.Pubrec, 1), step(packets.Pubcomp, 1)),
				say(join("three"), publish(1, "t", "2", exactlyOnce), publish(1, "t", "2", exactlyOnce), step(packets.Pubrel, 1), step(packets.Pubrel, 7), bye),
			},
			// what is refused: QoS 2, reserved topics, a second CONNECT, AUTH
			fuzzSession{
				say(join("", delayed), publish(7, "$aws/rules/r/t", "basic ingest"), publish(8, "$aws/things/x/shadow/update", "{}"), publish(9, "t", "2", exactlyOnce)),
				say(join("c"), join("c"), packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Auth}}),
			},
		)
	}
	for _, pk := range malformedPackets() {
		h := hello(5, "odd")
		all = append(all, fuzzSession{append(encode(tb, h, 5), pk.raw...), nil})
	}
	for _, c := range malformedConnects() {
		all = append(all, fuzzSession{frame(0x10, "\x00\x04MQTT"+string([]byte{c.version, c.flags})+"\x00\x3c"+c.tail), nil})
	}
	return all
}

// everything is every property that a PUBLISH of a client may have.
func everything(pk *packets.Packet) {
	pk.FixedHeader.Retain = true
	pk.Properties = packets.Properties{
		PayloadFormat: 1, PayloadFormatFlag: true, MessageExpiryInterval: 60, TopicAlias: 1, TopicAliasFlag: true,
		ResponseTopic: "answer", CorrelationData: []byte{1, 2}, ContentType: "text/plain",
		User: []packets.UserProperty{{Key: "k", Val: "1"}, {Key: "k", Val: "2"}},
	}
}

func aliased(pk *packets.Packet) { pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 1, true }

func exactlyOnce(pk *packets.Packet) { pk.FixedHeader.Qos = 2 }

// limited is a device that takes little.
func limited(pk *packets.Packet) {
	pk.Properties.ReceiveMaximum, pk.Properties.MaximumPacketSize, pk.Properties.TopicAliasMaximum = 1, 300, 3
	pk.Properties.RequestProblemInfoFlag, pk.Properties.RequestProblemInfo = true, 0
}

// delayed has a will that is published later.
func delayed(pk *packets.Packet) {
	withWill(pk)
	pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 60, true
	pk.Connect.WillProperties.WillDelayInterval = 30
}
