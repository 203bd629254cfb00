package localbroker

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// basicIngest begins the topics of Basic Ingest, $aws/rules/RULE/…: what is
// published there is handed to the cloud's rules engine, by whatever route takes
// it, and to no subscriber (B106).
const basicIngest = "$aws/rules/"

// WarningNoRuleRoute is the code of the warning that messages for a rule were
// dropped. Who changes the routes takes it back.
const WarningNoRuleRoute = "no-rule-route"

// handedOver reports whether an accepted message was for the cloud alone. One
// for a rule that no route takes is gone, as with AWS one for a rule that does
// not exist.
func (c *client) handedOver(m *bridge.Message) bool { return c.broker.handedOver(c.profile, c.id, m) }

func (b *Broker) handedOver(p *profile, from string, m *bridge.Message) bool {
	if !b.forCloud(p, m.Topic) {
		return false
	}
	if b.hasNoRoute(m.Topic) {
		b.warnNoRuleRoute(from, m.Topic)
	}
	return true
}

// hasNoRoute reports whether a message for the cloud alone is for a rule that no
// route takes.
func (b *Broker) hasNoRoute(topic string) bool {
	if !b.hasCloud || !strings.HasPrefix(topic, basicIngest) {
		return false
	}
	routed, _ := b.cloud(topic)
	return !routed
}

// giveUp puts a message for a rule that no route takes into the drop log, with the
// batch that its PUBACK waits for.
func (p *parcel) giveUp(batch *bridge.Batch) {
	if p.broker.hasNoRoute(p.msg.Topic) {
		p.broker.drops.NoteTurned(batch, bridge.Turned{Queue: basicIngestQueue, Fate: bridge.Dropped, Why: WarningNoRuleRoute}, cmp.Or(p.from, p.giver), p.msg)
	}
}

// basicIngestQueue stands for a queue in the drop log and the ledger.
const basicIngestQueue = "$aws/rules"

// forCloud reports whether what is published to a topic is for the cloud alone:
// of Basic Ingest, or a request to a service that is not reached by way of the
// broker (B212).
func (b *Broker) forCloud(p *profile, topic string) bool {
	if s, ok := b.passThrough.serves(topic); ok && s.direct() {
		return true
	}
	return p.aws && strings.HasPrefix(topic, basicIngest)
}

func (b *Broker) warnNoRuleRoute(client, topic string) {
	if b.health == nil {
		return
	}
	rule, _, _ := strings.Cut(topic[len(basicIngest):], "/")
	b.health.Raise(bridge.Warning{Code: WarningNoRuleRoute, Severity: bridge.Degraded, Text: fmt.Sprintf(
		"messages for rule %q were acknowledged and dropped, the latest of %q: no route takes them; add a route up with from: %s%s/#", rule, client, basicIngest, rule)})
}
