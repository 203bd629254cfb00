package localbroker

import (
	"fmt"

	"github.com/ebbgate/ebbgate/bridge"
)

// admits applies the profile's rules to a message that is to be published, by
// MQTT or HTTP. The error is a *bridge.Error; nobody has counted it.
func (p *profile) admits(m *bridge.Message) error {
	kind, err := bridge.TooLarge, error(nil)
	if len(m.Payload) > p.payloadSize {
		err = fmt.Errorf("payload of %d bytes, at most %d", len(m.Payload), p.payloadSize) // B84
	} else if err = p.propertySizes(m); err == nil { // Q39-Q41
		kind = bridge.TopicInvalid
		if err = p.topicName(m.Topic); err == nil && p.aws && m.Retain && m.Topic[0] == '$' { // B79-B82
			err = errReserved // B83
		}
	}
	if err != nil {
		return &bridge.Error{Op: "publish", Kind: kind, Err: err}
	}
	return nil
}
