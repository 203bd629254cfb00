package billing

import (
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// DefaultUnit is the size of one metered message in bytes: AWS writes "5 KB",
// read here as 5 × 1024 (M03; the other reading, 5,000, is an option).
const DefaultUnit = 5120

// decimalUnit is the other reading of "5 KB".
const decimalUnit = 5000

// basicIngest starts the topics whose publishes are not metered (M16).
const basicIngest = "$aws/rules/"

// Units is how many metered messages size bytes are: max(1, ceil(size/unit))
// (M03).
func Units(size int, unit int64) int64 {
	return max(1, (int64(size)+unit-1)/unit)
}

// Publish meters a PUBLISH that goes to the cloud: its size by M06, twice when
// retained (M10; the deletion of a retained message too, M11), and nothing on
// Basic Ingest topics (M16).
func Publish(m *bridge.Message, unit int64) int64 {
	if IsBasicIngest(m.Topic) {
		return 0
	}
	n := Units(m.MeteredSize(), unit)
	if m.Retain {
		n *= 2
	}
	return n
}

// Deliver meters a PUBLISH that comes from the cloud, once per recipient (M07).
func Deliver(m *bridge.Message, unit int64) int64 { return Units(m.MeteredSize(), unit) }

// Puback meters a PUBACK that goes to the cloud: one message, or by the size
// of its user properties on MQTT 5 (M08). The cloud's own PUBACKs are free
// (M09).
func Puback(user []bridge.UserProperty, unit int64) int64 { return Units(sizeOf(user), unit) }

// Connection is what is metered of a CONNECT (M04): the strings and binary
// data of its variable header, and the will.
type Connection struct {
	Properties int             // bytes of string and binary properties, user properties included
	Will       *bridge.Message // nil: none
}

// Connect meters a CONNECT (M04). Its answer is free (M09).
func Connect(c Connection, unit int64) int64 { return Units(c.size(), unit) }

func (c Connection) size() int {
	if c.Will == nil {
		return c.Properties
	}
	return c.Properties + c.Will.MeteredSize()
}

// Subscribe meters a SUBSCRIBE packet: filters and user properties together
// (M05). UNSUBSCRIBE is free (M09).
func Subscribe(filters []string, user []bridge.UserProperty, unit int64) int64 {
	return Units(subscribeSize(filters, user), unit)
}

func subscribeSize(filters []string, user []bridge.UserProperty) int {
	size := sizeOf(user)
	for _, f := range filters {
		size += len(f)
	}
	return size
}

// HTTPRequest meters a publish over HTTPS without its answer: the request's body
// and properties (M18). The topic in the URL is not mentioned by AWS and not
// counted. A Basic Ingest topic is free here too (M16).
func HTTPRequest(m *bridge.Message, unit int64) int64 {
	if IsBasicIngest(m.Topic) {
		return 0
	}
	return Units(m.MeteredSize()-len(m.Topic), unit)
}

// HTTPResponse meters a response's body; an error's counts as any other, and no
// body costs nothing (M18).
func HTTPResponse(body int, unit int64) int64 {
	if body <= 0 {
		return 0
	}
	return Units(body, unit)
}

// ShadowUnit is the increment of shadow and registry operations (M20).
const ShadowUnit = 1024

// Shadow meters a shadow or registry operation on a record of size bytes, in
// increments of 1 KB (M20).
func Shadow(size int) int64 { return Units(size, ShadowUnit) }

// ShadowOperations are the operations that a PUBLISH to a shadow's topic is
// billed beside its message (M21), 0 for every other topic. The record is the
// document afterwards, which only AWS knows: an update counts what it carries,
// a lower bound; reading and deleting count one.
func ShadowOperations(m *bridge.Message) int64 {
	rest, ok := strings.CutPrefix(m.Topic, "$aws/things/")
	if !ok {
		return 0
	}
	levels := strings.Split(rest, "/")
	if len(levels) == 5 && levels[1] == "shadow" && levels[2] == "name" { // a named shadow
		levels = append(levels[:2], levels[4])
	}
	if len(levels) != 3 || levels[1] != "shadow" {
		return 0
	}
	switch levels[2] {
	case "update":
		return Shadow(len(m.Payload))
	case "get", "delete":
		return 1
	}
	return 0
}

// IsDefender reports whether a topic is Device Defender's. Whether its reports
// are messages as well is not stated (M23): an option says it.
func IsDefender(topic string) bool {
	rest, ok := strings.CutPrefix(topic, "$aws/things/")
	_, rest, found := strings.Cut(rest, "/")
	return ok && found && strings.HasPrefix(rest, "defender/")
}

// IsBasicIngest reports whether publishes to a topic are not metered, because
// they go straight to a rule (M16).
func IsBasicIngest(topic string) bool { return strings.HasPrefix(topic, basicIngest) }

// BasicIngestPrefix is how long a topic gets when it names a rule.
func BasicIngestPrefix(rule string) int { return len(basicIngest) + len(rule) + 1 }

// BasicIngestRule is the rule that a topic names, empty when it names none.
func BasicIngestRule(topic string) string {
	rest, _ := strings.CutPrefix(topic, basicIngest)
	if len(rest) == len(topic) {
		return ""
	}
	rule, _, _ := strings.Cut(rest, "/")
	return rule
}

// Minutes meters connectivity: started minutes of one connection (M01).
func Minutes(connected time.Duration) int64 {
	return int64((connected + time.Minute - 1) / time.Minute)
}

func sizeOf(user []bridge.UserProperty) int {
	n := 0
	for _, u := range user {
		n += len(u.Key) + len(u.Value)
	}
	return n
}
