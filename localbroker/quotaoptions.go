package localbroker

import (
	"math"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// QuotaOptions are AWS IoT Core's quotas of a packet, a client, a connection
// and a session. The tag "quota" names the row of AWS's table that a key is of;
// "min" and "max" bound it, in bytes and seconds where it has a unit.
type QuotaOptions struct {
	Pace string `koanf:"pace" enum:"enforce,warn,ignore" doc:"What becomes of traffic above the quotas of pace, here and in broker.quotas: enforce discards, delays or refuses it as AWS does, warn lets it pass with a metric and a warning that say what AWS would have done, ignore does not count it. The profile's default: aws enforce, aws-edge warn, mqtt ignore."`

	ClientIDSize        bridge.Size   `koanf:"client_id_size" quota:"Q01" min:"1" max:"65535" doc:"Longest client id; a longer one is refused (Q01, L-E2D9C89C: 128 bytes)."`
	KeepAliveMin        time.Duration `koanf:"keep_alive_min" quota:"Q05" min:"1" max:"65535" doc:"A shorter keep alive becomes this one (Q05, L-E77027EF: 30 s)."`
	KeepAliveMax        time.Duration `koanf:"keep_alive_max" quota:"Q05" min:"1" max:"65535" doc:"A longer keep alive, or none, becomes this one (Q05, L-E77027EF: 1200 s); in profile mqtt none stays none."`
	PublishesPerSecond  int           `koanf:"publishes_per_second" quota:"Q06" min:"1" max:"1000000" doc:"PUBLISHes a second of one connection, a pace: excess is discarded, answered with PUBACK 0x97 in MQTT 5 QoS 1 (Q06, L-083F3861: 100/s)."`
	PublishBucket       string        `koanf:"publish_bucket" quota:"Q06" enum:"one,two" doc:"Whether publishes_per_second counts both directions together (one) or each for itself (two); AWS's text allows both readings (Q06)."`
	BytesPerSecond      bridge.Size   `koanf:"bytes_per_second" quota:"Q07" min:"1024" max:"17179869184" doc:"Bytes a second of one connection, both directions together, a pace: what is above waits (Q07, L-D9C66F9D: 512 KB/s)."`
	InboundInFlight     int           `koanf:"inbound_in_flight" quota:"Q08" min:"1" max:"65535" doc:"QoS 1 PUBLISHes of a client that have no PUBACK yet; announced as Receive Maximum (Q08, L-8736D8E0: 100)."`
	OutboundInFlight    int           `koanf:"outbound_in_flight" quota:"Q09" min:"1" max:"65535" doc:"QoS 1 PUBLISHes to a client that it has not acknowledged; then the broker waits (Q09, L-0DD80F19: 100)."`
	RetryMQTT5          time.Duration `koanf:"retry_mqtt5" quota:"Q10" min:"1" max:"315360000" doc:"How long a connected MQTT 5 client may leave a QoS 1 delivery unacknowledged before it is dropped (Q10, L-675FC798: 960 s)."`
	RetryMQTT3          time.Duration `koanf:"retry_mqtt3" quota:"Q10" min:"1" max:"315360000" doc:"The same for MQTT 3.1.1 (Q10, L-675FC798: 3600 s)."`
	PayloadSize         bridge.Size   `koanf:"payload_size" quota:"Q11" min:"1" max:"1835008" why:"the spool's records are 2MiB, and topic and properties go into them too" doc:"Largest payload, up to 1792KiB: the spool's records hold 2MiB, with topic and properties. A larger one ends the connection (Q11, L-13573643: 131072 bytes)."`
	PacketSize          bridge.Size   `koanf:"packet_size" quota:"Q12" min:"512" max:"1966080" why:"the spool's records are 2MiB, and hold a packet with where it goes" doc:"Largest packet, up to 1920KiB: the spool's records hold 2MiB, with where the message goes. It is announced as Maximum Packet Size; a larger one ends the connection (Q12, L-78413E12: 149504 bytes)."`
	SmallestPacketSize  bridge.Size   `koanf:"smallest_packet_size" quota:"Q13" min:"1" max:"1966080" doc:"Least Maximum Packet Size that an MQTT 5 client may announce; one with a smaller is refused (Q13, L-64BE4C6D: 512 bytes)."`
	TopicSize           bridge.Size   `koanf:"topic_size" quota:"Q14" min:"1" max:"65535" doc:"Longest topic and topic filter, $aws/rules/NAME/ aside (Q14, L-ECD9BEEF: 256 bytes)."`
	TopicSlashes        int           `koanf:"topic_slashes" quota:"Q15" min:"1" max:"65535" doc:"Most slashes of a topic or topic filter, those of $aws/rules/NAME/ and $share/NAME/ aside (Q15, L-AD5A8D4F: 7)."`
	Filters             int           `koanf:"filters" quota:"Q16" min:"1" max:"65535" doc:"Most filters of a SUBSCRIBE or UNSUBSCRIBE (Q16, L-A6574E9E: 8)."`
	Subscriptions       int           `koanf:"subscriptions" quota:"Q17" min:"1" max:"100000" doc:"Most subscriptions of a session; those above are refused in the SUBACK (Q17, L-45957C13: 50)."`
	SessionExpiry       time.Duration `koanf:"session_expiry" quota:"Q22" min:"1" max:"604800" doc:"Longest Session Expiry, and the one of persistent MQTT 3.1.1 sessions (Q22, L-3BB6AFBC: 3600 s, up to 604800 s; aws-edge takes these 7 days)."`
	ReplayPerSecond     int           `koanf:"replay_per_second" quota:"Q25" min:"1" max:"1000000" doc:"Stored messages a second to a session that has come back, a pace (Q25: 10/s)."`
	GroupReplayPerSec   int           `koanf:"group_replay_per_second" quota:"Q26" min:"1" max:"1000000" doc:"Messages a second from a share group's queue to one member, a pace (Q26: 20/s)."`
	ShareNameSize       bridge.Size   `koanf:"share_name_size" quota:"Q35" min:"1" max:"65535" doc:"Longest NAME of $share/NAME/FILTER (Q35: 128 bytes)."`
	ShareFilterSize     bridge.Size   `koanf:"share_filter_size" quota:"Q36" min:"1" max:"65535" doc:"Longest FILTER of $share/NAME/FILTER (Q36: 256 bytes)."`
	TopicAliases        int           `koanf:"topic_aliases" quota:"Q37" min:"1" max:"65535" doc:"Topic aliases that a client may use, announced as Topic Alias Maximum (Q37, L-C0EA6C17: 8)."`
	MessageExpiryMin    time.Duration `koanf:"message_expiry_min" quota:"Q38" min:"1" max:"4294967295" doc:"A shorter Message Expiry Interval becomes this one (Q38, L-BD70FE3A: 1 s)."`
	MessageExpiryMax    time.Duration `koanf:"message_expiry_max" quota:"Q38" min:"1" max:"4294967295" doc:"A longer Message Expiry Interval becomes this one (Q38, L-BD70FE3A: 604800 s)."`
	UserPropertiesSize  bridge.Size   `koanf:"user_properties_size" quota:"Q39" min:"1" max:"16777216" doc:"Most bytes of a packet's user properties (Q39, L-7201B389: 8192 bytes)."`
	ContentTypeSize     bridge.Size   `koanf:"content_type_size" quota:"Q40" min:"1" max:"65535" doc:"Longest content type (Q40, L-037A5A45: 256 bytes)."`
	CorrelationDataSize bridge.Size   `koanf:"correlation_data_size" quota:"Q41" min:"1" max:"65535" doc:"Longest correlation data (Q41, L-7E9783FF: 8192 bytes)."`
	WebSocketLifetime   time.Duration `koanf:"websocket_lifetime" quota:"Q42" min:"60" max:"315360000" doc:"Age at which a WebSocket connection is closed (Q42, L-3F401592: 86400 s)."`
}

// AccountQuotas are AWS IoT Core's quotas of an account and region. There is
// one account: what all listeners do counts together, those of profile mqtt
// aside. What a listener sees of a pace is its own quotas.pace.
type AccountQuotas struct {
	ConnectsPerSecond       int `koanf:"connects_per_second" quota:"Q02" min:"1" max:"1000000" doc:"CONNECTs a second, a pace: excess is refused with CONNACK 0x97, in MQTT 3.1.1 by closing (Q02, L-AEA1E176: 3000/s)."`
	ConnectsPerClientID     int `koanf:"connects_per_client_id" quota:"Q03" min:"1" max:"1000000" doc:"CONNECTs a second of one client id, a pace: excess is refused in the same way (Q03, L-033DE216: 1/s)."`
	Connections             int `koanf:"connections" quota:"Q04" min:"1" max:"10000000" doc:"Most connected clients (Q04, L-75CAB723: 500000)."`
	SubscribesPerSecond     int `koanf:"subscribes_per_second" quota:"Q18" min:"1" max:"1000000" doc:"Filters a second in SUBSCRIBEs, a pace: those above are refused in the SUBACK (Q18, L-589D5E1D: 3000/s)."`
	Subscriptions           int `koanf:"subscriptions" quota:"Q19" min:"1" max:"100000000" doc:"Most subscriptions of all sessions; those above are refused in the SUBACK (Q19, L-52CBB99B: 500000)."`
	PublishesInPerSecond    int `koanf:"publishes_in_per_second" quota:"Q20" min:"1" max:"10000000" doc:"PUBLISHes a second from all clients, a pace: excess is discarded (Q20, L-4B33E451: 20000/s)."`
	PublishesOutPerSecond   int `koanf:"publishes_out_per_second" quota:"Q21" min:"1" max:"10000000" doc:"PUBLISHes a second to all clients, a pace: excess is discarded (Q21, L-FE4EDCF9: 20000/s)."`
	QueuedPerSecond         int `koanf:"queued_per_second" quota:"Q23" min:"1" max:"1000000" doc:"Messages a second that are stored for absent sessions, a pace: excess is not stored (Q23, L-35DA9240: 500/s)."`
	GroupQueueMessages      int `koanf:"group_queue_messages" quota:"Q24" min:"1" max:"100000000" doc:"Most messages queued for one share group; newer ones are dropped (Q24, L-5C386551: 500000)."`
	RetainedMessages        int `koanf:"retained_messages" quota:"Q27" min:"1" max:"100000000" doc:"Most retained messages; a PUBLISH above it gets PUBACK 0x97 (Q27, L-57BADEF0: 500000)."`
	RetainedPerSecond       int `koanf:"retained_per_second" quota:"Q28" min:"1" max:"1000000" doc:"PUBLISHes with RETAIN a second, a pace: excess is discarded (Q28, L-BAFC6221: 500/s)."`
	RetainedPerTopic        int `koanf:"retained_per_topic" quota:"Q29" min:"1" max:"1000000" doc:"PUBLISHes with RETAIN a second on one topic, a pace: excess is discarded (Q29, L-771FD74A: 1/s)."`
	GetRetainedPerSecond    int `koanf:"get_retained_per_second" quota:"Q30" min:"1" max:"1000000" doc:"HTTP reads of one retained message a second, a pace: excess is answered with 429 (Q30, L-1243AB32: 500/s)."`
	ListRetainedPerSecond   int `koanf:"list_retained_per_second" quota:"Q31" min:"1" max:"1000000" doc:"HTTP lists of retained messages a second, a pace: excess is answered with 429 (Q31, L-05CA9647: 10/s)."`
	ShareGroups             int `koanf:"share_groups" quota:"Q32" min:"1" max:"1000000" doc:"Most share groups; a subscription that would begin another is refused in the SUBACK (Q32, L-850876C0: 100)."`
	ShareGroupMembers       int `koanf:"share_group_members" quota:"Q33" min:"1" max:"1000000" doc:"Most subscriptions of one share group (Q33, L-EB813241: 100)."`
	ShareGroupChanges       int `koanf:"share_group_changes_per_second" quota:"Q34" min:"1" max:"1000000" doc:"SUBSCRIBEs and UNSUBSCRIBEs a second of one share group, a pace: excess is refused in the SUBACK (Q34, L-757705D9: 100/s)."`
	DeleteConnPerClient     int `koanf:"delete_connection_per_client_id" quota:"Q46" min:"1" max:"1000000" doc:"HTTP DeleteConnections a second about one client id, a pace: excess is answered with 429 (Q46, L-AC33745E: 1/s)."`
	DeleteConnPerSecond     int `koanf:"delete_connection_per_second" quota:"Q46" min:"1" max:"1000000" doc:"HTTP DeleteConnections a second, a pace: excess is answered with 429 (Q46, L-6F708547: 100/s)."`
	GetConnPerClient        int `koanf:"get_connection_per_client_id" quota:"Q47" min:"1" max:"1000000" doc:"HTTP GetConnections a second about one client id, a pace: excess is answered with 429 (Q47, L-8DDC8969: 1/s)."`
	GetConnPerSecond        int `koanf:"get_connection_per_second" quota:"Q47" min:"1" max:"1000000" doc:"HTTP GetConnections a second, a pace: excess is answered with 429 (Q47, L-8DDC8969: 100/s)."`
	ListSubsPerClient       int `koanf:"list_subscriptions_per_client_id" quota:"Q48" min:"1" max:"1000000" doc:"HTTP ListSubscriptions a second about one client id, a pace: excess is answered with 429 (Q48, L-AB85397C: 1/s)."`
	ListSubsPerSecond       int `koanf:"list_subscriptions_per_second" quota:"Q48" min:"1" max:"1000000" doc:"HTTP ListSubscriptions a second, a pace: excess is answered with 429 (Q48, L-AB85397C: 100/s)."`
	DirectMessagesPerSecond int `koanf:"direct_messages_per_second" quota:"Q49" min:"1" max:"1000000" doc:"HTTP SendDirectMessages a second, a pace: excess is answered with 429 (Q49, L-889910A2: 20000/s)."`
}

// The values of QuotaOptions.Pace.
const (
	paceEnforce = "enforce"
	paceWarn    = "warn"
	paceIgnore  = "ignore"
)

// The values of QuotaOptions.PublishBucket.
const (
	bucketOne = "one"
	bucketTwo = "two"
)

// forEver stands where MQTT knows no end: ten years.
const forEver = 10 * 365 * 24 * time.Hour

// DefaultQuotas are the quotas of a profile. An unknown one has those of
// aws-edge.
func DefaultQuotas(profile string) QuotaOptions {
	q := QuotaOptions{
		Pace: paceEnforce, ClientIDSize: 128,
		KeepAliveMin: 30 * time.Second, KeepAliveMax: 1200 * time.Second,
		PublishesPerSecond: 100, PublishBucket: bucketOne, BytesPerSecond: 512 << 10,
		InboundInFlight: 100, OutboundInFlight: 100,
		RetryMQTT5: 960 * time.Second, RetryMQTT3: time.Hour,
		PayloadSize: 128 << 10, PacketSize: 149_504, SmallestPacketSize: 512,
		TopicSize: 256, TopicSlashes: 7, Filters: 8, Subscriptions: 50,
		SessionExpiry: time.Hour, ReplayPerSecond: 10, GroupReplayPerSec: 20,
		ShareNameSize: 128, ShareFilterSize: 256, TopicAliases: 8,
		MessageExpiryMin: time.Second, MessageExpiryMax: 604_800 * time.Second,
		UserPropertiesSize: 8 << 10, ContentTypeSize: 256, CorrelationDataSize: 8 << 10,
		WebSocketLifetime: 24 * time.Hour,
	}
	switch profile {
	case profileAWS:
	case profileMQTT:
		q.Pace = paceIgnore
		q.ClientIDSize = 1024
		q.KeepAliveMin, q.KeepAliveMax = time.Second, 65_535*time.Second
		q.PublishesPerSecond, q.BytesPerSecond = 1_000_000, 16<<30
		q.RetryMQTT5, q.RetryMQTT3 = forEver, forEver
		q.PayloadSize, q.PacketSize, q.SmallestPacketSize = 1<<20, 1<<20, 1
		q.TopicSize, q.TopicSlashes, q.Filters, q.Subscriptions = 65_535, 199, 1000, 1000 // Mosquitto takes 200 levels
		q.SessionExpiry = 24 * time.Hour
		q.ReplayPerSecond, q.GroupReplayPerSec = 1_000_000, 1_000_000
		q.ShareFilterSize, q.TopicAliases = 65_535, 64
		q.MessageExpiryMax = math.MaxUint32 * time.Second
		q.UserPropertiesSize, q.ContentTypeSize, q.CorrelationDataSize = 64<<10, 65_535, 65_535
		q.WebSocketLifetime = forEver
	default:
		q.Pace = paceWarn
		q.SessionExpiry = 604_800 * time.Second
	}
	return q
}

// DefaultAccountQuotas are AWS's, of a large region.
func DefaultAccountQuotas() AccountQuotas {
	return AccountQuotas{
		ConnectsPerSecond: 3000, ConnectsPerClientID: 1, Connections: 500_000,
		SubscribesPerSecond: 3000, Subscriptions: 500_000,
		PublishesInPerSecond: 20_000, PublishesOutPerSecond: 20_000,
		QueuedPerSecond: 500, GroupQueueMessages: 500_000,
		RetainedMessages: 500_000, RetainedPerSecond: 500, RetainedPerTopic: 1,
		GetRetainedPerSecond: 500, ListRetainedPerSecond: 10,
		ShareGroups: 100, ShareGroupMembers: 100, ShareGroupChanges: 100,
		DeleteConnPerClient: 1, DeleteConnPerSecond: 100, GetConnPerClient: 1, GetConnPerSecond: 100,
		ListSubsPerClient: 1, ListSubsPerSecond: 100, DirectMessagesPerSecond: 20_000,
	}
}

// defaultReserved is which "$" topics a profile takes besides $aws/. It is
// never nil.
func defaultReserved(profile string) []string {
	if profile == profileAWS || profile == profileMQTT {
		return []string{}
	}
	return []string{"$file", "$file-async", "$file-response", "$SYS"}
}
