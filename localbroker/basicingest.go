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
// that no route takes is gone, as with AWS one for a rule that does not exist.
func (c *client) handedOver(m *bridge.Message) bool {
	if !c.forCloud(m.Topic) {
		return false
	}
	if routed, _ := c.broker.cloud(m.Topic); !routed && c.broker.hasCloud {
		c.broker.noRuleRoute(c.id, m.Topic)
	}
	return true
}

// forCloud reports whether what the device publishes to a topic is for the cloud
// alone.
func (c *client) forCloud(topic string) bool {
	return c.profile.aws && strings.HasPrefix(topic, basicIngest)
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
