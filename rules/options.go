package rules

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// Options are the routes as written in the configuration. Start from
// [DefaultOptions], [DefaultUpRoute] and [DefaultDownRoute]: an empty string is
// a mistake, not a default.
type Options struct {
	Match       string      `koanf:"match" enum:"first,all" doc:"When several routes match a topic: only the first in the file takes the message, or all do."`
	TopicLimits string      `koanf:"topic_limits" enum:"aws,mqtt" doc:"Limits of a routed topic: aws is 256 bytes, and 7 slashes on the way up; mqtt is 65535 bytes."`
	LocalOnly   []string    `koanf:"local_only" doc:"Topic filters of messages that never leave the site, whatever else matches them."`
	Up          []UpRoute   `koanf:"up" doc:"Routes from devices to upstreams, in order of matching."`
	Down        []DownRoute `koanf:"down" doc:"Routes from upstreams to local topics, in order of matching."`

	PassThrough PassThroughOptions `koanf:"pass_through" doc:"AWS's own services, for devices: shadows, jobs, provisioning."`

	// Own lists, by upstream, the things whose messages go up on a connection of
	// their own and so wait in queues of their own. It comes from the upstreams.
	Own map[string][]string
}

// UpRoute takes messages of devices to an upstream.
type UpRoute struct {
	Name      string        `koanf:"name" doc:"Name of the route, unique among all routes: it names the queue. 1 to 64 of a-z, 0-9, - and _."`
	From      string        `koanf:"from" doc:"Topic filter of the device's messages; $-topics only when named explicitly."`
	Upstream  string        `koanf:"upstream" doc:"Name of the upstream that takes the messages."`
	Topic     string        `koanf:"topic" template:"topic" doc:"Topic at the upstream: text with ${topic}, ${topic[1]} (levels count from 1), ${client_id} and ${thing_name}."`
	QoS       string        `koanf:"qos" enum:"0,1,published" doc:"QoS at the upstream: 0, 1, or published for the device's own (2 becomes 1)."`
	Priority  int           `koanf:"priority" min:"0" max:"9" doc:"0 to 9: a higher number goes first; how much more often, the upstream's priority_weight says."`
	TTL       time.Duration `koanf:"ttl" doc:"How long a message may wait before it is dropped and counted; 0s is for ever."`
	KeepLast  int           `koanf:"keep_last" min:"0" max:"1000" doc:"How many messages of one topic may wait, the newest ones, for states of which only the last word counts: what they replace is dropped and logged as conflated; 0 keeps all. Sparkplug (spBv1.0/…) is left alone unless from names it."`
	LiveFirst bool          `koanf:"live_first" doc:"After an outage, what is accepted now goes before what has waited: nine live messages for one of the backlog, each of both in the order of acceptance. A message is live for 30s to 60s. false sends all in the order of acceptance."`
	Retain    string        `koanf:"retain" enum:"clear,keep" doc:"The retain flag at the upstream: clear, or keep what the device set. AWS bills a retained message twice."`
	Origin    string        `koanf:"origin" enum:"user_properties,envelope,none,bare" doc:"How device, thing, message id and time of acceptance travel: as MQTT 5 user properties, in a JSON envelope around the payload, or not at all; bare leaves out the count of gateways passed as well, by which loops are found. In a batch: user_properties are those of the batch, envelope is one around each message."`

	Where       string        `koanf:"where" doc:"Condition in CEL on topic, levels, client_id, thing, properties, content_type, payload (JSON or CBOR), size, qos and retain; the route takes a message only when it holds. Empty: always."`
	OnError     string        `koanf:"on_error" enum:"keep,drop" doc:"When where cannot decide a message, or deadband or window cannot read it: keep sends it all the same, drop does not."`
	Sample      SampleOptions `koanf:"sample" doc:"Takes a part of the messages of each topic; the others go nowhere."`
	BasicIngest string        `koanf:"basic_ingest" doc:"Name of the AWS IoT rule that takes the messages by Basic Ingest, which bills no message: the topic gets $aws/rules/NAME/ before it. Empty: none."`
	Steps       shape.Options `koanf:",squash"`
}

// Mode is how the route says whose its messages are.
func (u UpRoute) Mode() bridge.OriginMode { return originModes[u.Origin] }

// DownRoute takes messages of an upstream to local topics.
type DownRoute struct {
	Name     string        `koanf:"name" doc:"Name of the route, unique among all routes: it names the queue. 1 to 64 of a-z, 0-9, - and _."`
	Upstream string        `koanf:"upstream" doc:"Name of the upstream that sends the messages."`
	From     string        `koanf:"from" doc:"Topic filter that is subscribed at the upstream."`
	Topic    string        `koanf:"topic" template:"topic" doc:"Local topic: text with ${topic} and ${topic[1]} (levels count from 1)."`
	QoS      string        `koanf:"qos" enum:"0,1,published" doc:"QoS on the site: 0, 1, or published for that of the upstream's message."`
	Priority int           `koanf:"priority" min:"0" max:"9" doc:"0 to 9: a higher number goes first; how much more often, the upstream's priority_weight says."`
	TTL      time.Duration `koanf:"ttl" doc:"How long a message waits for a subscriber before it is dropped and counted; 0s is for ever."`
	Retain   string        `koanf:"retain" enum:"clear,keep" doc:"The retain flag on the site: clear, or keep what the upstream set."`
}

// MaxRoutes is how many routes of one direction a table can hold.
const MaxRoutes = 1000

// DefaultOptions routes nothing.
func DefaultOptions() Options {
	return Options{Match: "first", TopicLimits: "aws", PassThrough: DefaultPassThrough()}
}

// DefaultUpRoute holds the defaults of a route up: it loses nothing (QoS 1, no
// expiry) and does not pay twice (retain cleared).
func DefaultUpRoute() UpRoute {
	return UpRoute{Topic: "${topic}", QoS: "1", Priority: 4, Retain: "clear", Origin: "user_properties", OnError: "keep", Steps: shape.DefaultOptions()}
}

// DefaultDownRoute holds the defaults of a route down. A command that no device
// has fetched in a day is more likely dangerous than useful.
func DefaultDownRoute() DownRoute {
	return DownRoute{Topic: "${topic}", QoS: "1", Priority: 4, TTL: 24 * time.Hour, Retain: "clear"}
}
