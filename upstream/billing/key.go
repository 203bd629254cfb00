package billing

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Namespace is the ledger's namespace in the spool.
const Namespace = "meter"

// Kinds of counters: the last byte of a key.
const (
	kindUnits     = 'u' // metered messages, acknowledged
	kindUncertain = 'x' // metered messages, sent with an unknown fate
	kindMessages  = 'm' // MQTT messages, acknowledged
	kindWire      = 'w' // bytes on the wire, without TLS and TCP
	kindBytes     = 'b' // bytes that were metered
	kindRetained  = 'r' // of the units: retained copies (M10)
	kindAcks      = 'a' // of the units: our PUBACKs (M08)
	kindAnswers   = 'h' // of the units: answers to our requests over HTTP (M18)
	kindOther     = 'v' // units more by 5,000 bytes, of those that were counted by 5,120 (M03)
	kindFewer     = 'd' // units fewer by 5,120 bytes, of those that were counted by 5,000
	kindBasic     = 'i' // units that Basic Ingest's rules processed (M16, M19)
	kindBasicMore = 'j' // of these: those beyond one for each message
	kindShadow    = 'o' // shadow operations (M21)
	kindThrottled = 'q' // messages that the cloud refused for now (M26)
	kindMinutes   = 't' // minutes of connectivity (M01)
	kindSocket    = 's' // bytes that the sockets of an upstream have carried
)

// Directions: from devices to the cloud, back, and what the connection itself
// costs.
const (
	Up   = "up"
	Down = "down"
	Link = "link"
)

// What stands for the topic in lines of [Link].
const (
	ConnectPacket   = "CONNECT"
	SubscribePacket = "SUBSCRIBE"
)

// Bounds of names in keys, in bytes.
const (
	maxDeviceName = 128 // an MQTT client id at AWS (Q01)
	maxPrefixName = 64
	maxThingName  = 128 // a thing's name at AWS
)

// Hours that no clock vouches for.
const (
	hourLayout   = "2006010215"
	dayLayout    = "20060102"
	monthLayout  = "200601"
	unsynced     = "~"       // before an hour that an unsynchronised clock told
	hourUnknown  = "unknown" // the clock was certainly wrong
	firstRelease = 2026      // no gateway of ours ran before
)

const sep = "\x00" // in no MQTT string

// series is what one set of counters is about.
type series struct {
	upstream, direction, device, prefix, route, thing string
}

// sameName stands in a key for a thing that is named like its device, as most
// are.
const sameName = "="

// Plausible reports whether a wall clock tells a year in which a gateway of ours may
// run.
func Plausible(wall time.Time) bool {
	y := wall.UTC().Year()
	return y >= firstRelease && y <= 9999
}

// hourOf names the ledger's hour of a wall clock.
func hourOf(wall time.Time, synced bool) string {
	wall = wall.UTC()
	switch {
	case !Plausible(wall):
		return hourUnknown
	case !synced:
		return unsynced + wall.Format(hourLayout)
	}
	return wall.Format(hourLayout)
}

// key is the counter's key without its kind: hour first, so that a span is one
// scan, and what is old can be found.
func (s series) key(hour string) string {
	thing := s.thing
	if thing != "" && thing == s.device {
		thing = sameName
	}
	return strings.Join([]string{hour, s.upstream, s.direction, s.device, s.prefix, s.route, thing, ""}, sep)
}

// parseKey is the inverse of key plus kind. Keys of the first ledgers have
// neither route nor thing.
func parseKey(key string) (hour string, s series, kind byte, ok bool) {
	f := strings.Split(key, sep)
	if len(f) != 6 && len(f) != 8 || len(f[len(f)-1]) != 1 {
		return "", series{}, 0, false
	}
	s = series{upstream: f[1], direction: f[2], device: f[3], prefix: f[4]}
	if len(f) == 8 {
		s.route, s.thing = f[5], f[6]
	}
	if s.thing == sameName {
		s.thing = s.device
	}
	return f[0], s, f[len(f)-1][0], true
}

// parseHour is when the hour (or, once folded, day or month) began, and whether
// a clock vouched for it. An unknown hour is the zero time.
func parseHour(hour string) (start time.Time, synced, ok bool) {
	if hour == hourUnknown {
		return time.Time{}, false, true
	}
	told, isUnsynced := strings.CutPrefix(hour, unsynced)
	if len(told) > len(hourLayout) {
		return time.Time{}, false, false
	}
	start, err := time.Parse(hourLayout[:len(told)], told)
	return start, !isUnsynced, err == nil
}

// prefixOf is the first levels of a topic, bounded. The rule's name of a Basic
// Ingest topic belongs to the prefix.
func prefixOf(topic string, levels int) string {
	if strings.HasPrefix(topic, basicIngest) {
		levels += 2
	}
	end := 0
	for ; levels > 0 && end < len(topic); levels-- {
		next := strings.IndexByte(topic[end:], '/')
		if next < 0 {
			end = len(topic) + 1
			break
		}
		end += next + 1
	}
	return bound(topic[:max(0, end-1)], maxPrefixName)
}

// bound cuts a name at a rune and takes the separator out of it.
func bound(name string, n int) string {
	if len(name) > n {
		for n > 0 && !utf8.RuneStart(name[n]) {
			n--
		}
		name = name[:n]
	}
	return strings.ReplaceAll(name, sep, "")
}
