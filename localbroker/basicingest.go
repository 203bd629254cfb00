package localbroker

import (
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
	if routed, _ := b.cloud(m.Topic); !routed && b.hasCloud && strings.HasPrefix(m.Topic, basicIngest) {
		b.noRuleRoute(from, m.Topic)
	}
	return true
}

// forCloud reports whether what is published to a topic is for the cloud alone:
// of Basic Ingest, or a request to a service that is not reached by way of the
// broker (B212).
func (b *Broker) forCloud(p *profile, topic string) bool {
	if s, ok := b.passThrough.serves(topic); ok && s.direct() {
		return true
	}
	return p.aws && strings.HasPrefix(topic, basicIngest)
}

func (b *Broker) noRuleRoute(client, topic string) {
	b.drops.Count(WarningNoRuleRoute, client, topic)
	if b.health == nil {
		return
	}
	rule, _, _ := strings.Cut(topic[len(basicIngest):], "/")
	b.health.Raise(bridge.Warning{Code: WarningNoRuleRoute, Severity: bridge.Degraded, Text: fmt.Sprintf(
		"messages for rule %q were acknowledged and dropped, the latest of %q: no route takes them; add a route up with from: %s%s/#", rule, client, basicIngest, rule)})
}
