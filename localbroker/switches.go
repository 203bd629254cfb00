package localbroker

// SwitchOptions are what a listener does where nobody outside knows for certain
// what AWS IoT Core does. The default is what is most likely; a site that has
// seen AWS do otherwise turns the switch. Each names the statements that it is
// about; docs/reference/aws-conformance.md lists them all.
type SwitchOptions struct {
	EarlyPackets     string `koanf:"early_packets" enum:"profile,close,accept" doc:"What becomes of a device that sends the next packet with its CONNECT or while that is decided on, before CONNACK (B17): it is closed, or its packets are accepted; profile closes it in the AWS profiles."`
	RefusedConnectV3 string `koanf:"refused_connect_mqtt3" enum:"code,close" doc:"What a 3.1.1 device sees of a refused CONNECT (B20, B22, B25, B26, B27): the CONNACK code of its version, or only the end of the connection."`
	DollarClientID   string `koanf:"dollar_client_id" enum:"accept,refuse" doc:"Whether a client id may begin with $ (B23): AWS's APIs refuse it, CONNECT is not known to; refuse answers 0x85."`
	QoS2V3           string `koanf:"qos2_mqtt3" enum:"profile,ignore,close" doc:"What a 3.1.1 device sees of its QoS 2 PUBLISH or SUBSCRIBE (B75, B123): nothing, or the end of the connection; profile ignores in aws and closes in aws-edge. Profile mqtt takes QoS 2."`
	RefusedTopicV5   string `koanf:"refused_topic_mqtt5" enum:"ack,disconnect" doc:"What an MQTT 5 device sees of a QoS 1 PUBLISH to a topic that is not valid (B79, B80, B82, B83): PUBACK 0x90, or DISCONNECT 0x90."`
	RefusedTopicV3   string `koanf:"refused_topic_mqtt3" enum:"close,ack" doc:"What a 3.1.1 device sees of the same (B81): the end of the connection, or an acknowledgement, the message being dropped."`
	RefusedFilterV5  string `koanf:"refused_filter_mqtt5" enum:"ack,disconnect" doc:"What an MQTT 5 device sees of a topic filter that is not valid (B135, B136, B174, B191): 0x8F in the SUBACK, or DISCONNECT 0x8F."`
	RefusedFilterV3  string `koanf:"refused_filter_mqtt3" enum:"ack,close" doc:"What a 3.1.1 device sees of the same: 0x80 in the SUBACK, or the end of the connection."`
	Overlapping      string `koanf:"overlapping" enum:"once,each" doc:"How often a message reaches a device several of whose subscriptions match (B114): once, at the highest QoS granted, or once for each."`
	RetainOptions    string `koanf:"retain_options" enum:"profile,ignore,honour" doc:"What becomes of the MQTT 5 options Retain Handling and Retain As Published (B141); profile ignores them in the AWS profiles."`
	WillDelay        string `koanf:"will_delay" enum:"profile,ignore,honour" doc:"What becomes of an MQTT 5 will's Delay Interval (B169); profile ignores it in the AWS profiles."`
}

// The values of SwitchOptions.
const (
	switchProfile    = "profile"
	switchClose      = "close"
	switchAccept     = "accept"
	switchCode       = "code"
	switchRefuse     = "refuse"
	switchIgnore     = "ignore"
	switchAck        = "ack"
	switchDisconnect = "disconnect"
	switchOnce       = "once"
	switchEach       = "each"
	switchHonour     = "honour"
)

func defaultSwitches() SwitchOptions {
	return SwitchOptions{
		EarlyPackets: switchProfile, RefusedConnectV3: switchCode, DollarClientID: switchAccept, QoS2V3: switchProfile,
		RefusedTopicV5: switchAck, RefusedTopicV3: switchClose, RefusedFilterV5: switchAck, RefusedFilterV3: switchAck,
		Overlapping: switchOnce, RetainOptions: switchProfile, WillDelay: switchProfile,
	}
}

// withDefaults fills what is empty.
func (s SwitchOptions) withDefaults() SwitchOptions {
	d := defaultSwitches()
	orDefault(&s.EarlyPackets, d.EarlyPackets)
	orDefault(&s.RefusedConnectV3, d.RefusedConnectV3)
	orDefault(&s.DollarClientID, d.DollarClientID)
	orDefault(&s.QoS2V3, d.QoS2V3)
	orDefault(&s.RefusedTopicV5, d.RefusedTopicV5)
	orDefault(&s.RefusedTopicV3, d.RefusedTopicV3)
	orDefault(&s.RefusedFilterV5, d.RefusedFilterV5)
	orDefault(&s.RefusedFilterV3, d.RefusedFilterV3)
	orDefault(&s.Overlapping, d.Overlapping)
	orDefault(&s.RetainOptions, d.RetainOptions)
	orDefault(&s.WillDelay, d.WillDelay)
	return s
}

func (s SwitchOptions) validate(at string, ps *problems) {
	ps.oneOf(at+"early_packets", s.EarlyPackets, switchProfile, switchClose, switchAccept)
	ps.oneOf(at+"refused_connect_mqtt3", s.RefusedConnectV3, switchCode, switchClose)
	ps.oneOf(at+"dollar_client_id", s.DollarClientID, switchAccept, switchRefuse)
	ps.oneOf(at+"qos2_mqtt3", s.QoS2V3, switchProfile, switchIgnore, switchClose)
	ps.oneOf(at+"refused_topic_mqtt5", s.RefusedTopicV5, switchAck, switchDisconnect)
	ps.oneOf(at+"refused_topic_mqtt3", s.RefusedTopicV3, switchClose, switchAck)
	ps.oneOf(at+"refused_filter_mqtt5", s.RefusedFilterV5, switchAck, switchDisconnect)
	ps.oneOf(at+"refused_filter_mqtt3", s.RefusedFilterV3, switchAck, switchClose)
	ps.oneOf(at+"overlapping", s.Overlapping, switchOnce, switchEach)
	ps.oneOf(at+"retain_options", s.RetainOptions, switchProfile, switchIgnore, switchHonour)
	ps.oneOf(at+"will_delay", s.WillDelay, switchProfile, switchIgnore, switchHonour)
}

// turned is a switch whose default is the profile's.
func turned(value, is string, profile bool) bool {
	if value == switchProfile {
		return profile
	}
	return value == is
}

// closesEarly reports whether a device must wait for its CONNACK.
func (s *settings) closesEarly(p *profile) bool {
	return turned(s.Switches.EarlyPackets, switchClose, p.aws)
}

// ignoresQoS2 reports whether a 3.1.1 device's QoS 2 is passed over in silence.
func (s *settings) ignoresQoS2(p *profile) bool {
	return turned(s.Switches.QoS2V3, switchIgnore, p.silent)
}

// honoursRetain reports whether Retain Handling and Retain As Published count.
func (s *settings) honoursRetain(p *profile) bool {
	return turned(s.Switches.RetainOptions, switchHonour, !p.aws)
}

// honoursDelay reports whether a will's Delay Interval counts.
func (s *settings) honoursDelay(p *profile) bool {
	return turned(s.Switches.WillDelay, switchHonour, !p.aws)
}

// endsOnFilter reports whether a filter that is not valid ends the connection.
func (s *settings) endsOnFilter(version byte) bool {
	if version == 5 {
		return s.Switches.RefusedFilterV5 == switchDisconnect
	}
	return s.Switches.RefusedFilterV3 == switchClose
}
