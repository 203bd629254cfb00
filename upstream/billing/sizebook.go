package billing

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// SizesNamespace is where the spool keeps the recorded sizes: a histogram per
// day, upstream, route and topic prefix.
const SizesNamespace = "sizes"

// maxSizes bounds the histograms of one upstream and day; what is above is
// recorded as "(other)".
const maxSizes = 200

// daySizes is what one route sent under one topic prefix on one day.
type daySizes struct {
	key       string
	histogram sizes.Histogram
	dirty     bool

	last lastOwn
}

// lastOwn is what user properties the last message of a device to a topic had. Of many
// such streams it follows a part, one in 2^rare of them, and what these say stands for all.
type lastOwn struct {
	own  map[uint64]uint64 // hashes, by that of the stream; nil while no message of the day has had any
	rare uint
}

// mostFollowed bounds the streams that are.
const mostFollowed = 512

// follows reports whether a stream is one of the part.
func (l *lastOwn) follows(stream uint64) bool {
	return stream*0x9e3779b97f4a7c15>>(64-l.rare) == 0 // a shift by all bits leaves none
}

// note follows a stream to its next message, and returns how many changes that stands for.
func (l *lastOwn) note(stream, own uint64) int64 {
	if !l.follows(stream) {
		return 0
	}
	was, known := l.own[stream]
	l.own[stream] = own
	for len(l.own) > mostFollowed {
		l.rare++
		maps.DeleteFunc(l.own, func(s, _ uint64) bool { return !l.follows(s) })
	}
	if !known || was == own {
		return 0
	}
	return 1 << l.rare
}

// note records the user properties of a message, once there are some.
func (d *daySizes) note(device string, sent message) {
	if sent.own == 0 && d.last.own == nil {
		return
	}
	if d.last.own == nil {
		d.last.own = map[uint64]uint64{}
	}
	stream := sizes.Hash(sizes.Hash(0, device), sent.name)
	d.histogram.Owned(sent.name, sent.own, d.last.note(stream, sent.own))
}

// message is what is recorded of one that was sent: bytes of what was metered.
type message struct {
	payload, topic, rest int
	retained, http       bool
	name                 string // the topic
	json                 bool   // by its looks
	own                  uint64 // hash of its device's user properties; 0: none
	kind                 Kind
	made                 string // how, if it is a batch
}

func messageOf(out *bridge.Message, size int, http bool) message {
	rest := size - len(out.Payload)
	if !http { // else the topic is no part of it (M18)
		rest -= len(out.Topic)
	}
	return message{
		payload: len(out.Payload), topic: len(out.Topic), rest: rest, retained: out.Retain, http: http,
		name: out.Topic, json: looksJSON(out.Payload), own: ownOf(out.User),
	}
}

// propEncoding is set by a route's compression, where that makes a payload smaller: it is
// no word of a device's that keeps messages apart.
const propEncoding = "content-encoding"

// ownOf is a hash of the user properties that are not the gateway's word.
func ownOf(user []bridge.UserProperty) (sum uint64) {
	for _, u := range user {
		switch u.Key {
		case bridge.PropDevice, bridge.PropThing, bridge.PropID, bridge.PropAccepted, bridge.PropClock, bridge.PropHops, propEncoding:
		default:
			sum = sizes.Hash(sizes.Hash(sum, u.Key)+1, u.Value) | 1
		}
	}
	return sum
}

// looksJSON tells by the ends of a payload whether it is JSON, and a short one by all
// of it: batches of JSON hold what is none as base64. To read each message would cost
// more than it is worth.
func looksJSON(payload []byte) bool {
	p := payload
	for len(p) > 0 && isSpace(p[0]) {
		p = p[1:]
	}
	for len(p) > 0 && isSpace(p[len(p)-1]) {
		p = p[:len(p)-1]
	}
	if len(p) == 0 {
		return false
	}
	switch last := p[len(p)-1]; p[0] {
	case '{':
		return last == '}'
	case '[':
		return last == ']'
	case '"':
		return last == '"' && len(p) > 1
	}
	return len(p) <= longestScalar && json.Valid(p)
}

// isSpace is for what JSON may stand between.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// longestScalar is more than any number is long that a device would write.
const longestScalar = 32

// overHTTP ends the key of what went over HTTP: it was metered in another way.
const overHTTP = "http"

// pile is what has a histogram of its own.
type pile struct {
	upstream, route, prefix string
	http                    bool
	kind                    Kind
	made                    string
}

// sizeBook is the histograms of the present day. Whoever holds the meter's lock
// may use it.
type sizeBook struct {
	day   string
	all   map[string]*daySizes
	known map[pile]*daySizes // those of all that have their own, by what they are about
	count map[string]int     // by upstream
	spool bridge.Spool
}

func newSizeBook(spool bridge.Spool) *sizeBook { return &sizeBook{spool: spool} }

// note records a message of a series in the day of hour. When what the day has
// already cannot be read nothing is recorded, rather than that it is lost.
func (b *sizeBook) note(hour string, s series, sent message) {
	if d := b.find(hour, pile{s.upstream, s.route, s.prefix, sent.http, sent.kind, sent.made}); d != nil {
		add := d.histogram.Add
		if sent.http {
			add = d.histogram.AddRequest
		}
		add(sent.payload, sent.topic, sent.rest, sent.retained)
		d.histogram.Named(sent.name)
		if !sent.json {
			d.histogram.NotJSON()
		}
		d.note(s.device, sent)
		d.dirty = true
	}
}

func (b *sizeBook) find(hour string, p pile) *daySizes {
	day := hour
	if strings.TrimPrefix(hour, unsynced) != hourUnknown {
		day = hour[:len(hour)-2]
	}
	if day != b.day || b.all == nil {
		if err := b.open(day); err != nil {
			return nil
		}
	}
	if d := b.known[p]; d != nil {
		return d
	}
	asked, d := p, b.all[p.key(day)]
	if d == nil && b.count[p.upstream] >= maxSizes {
		p.kind, p.made = Single, ""                   // nobody could change it
		if p.route = other; IsBasicIngest(p.prefix) { // it stays what is not metered (M16)
			p.prefix = basicIngest + other
		} else {
			p.prefix = other
		}
		d = b.all[p.key(day)]
	}
	if d == nil {
		d = &daySizes{key: p.key(day)}
		b.all[d.key] = d
		b.count[p.upstream]++
	}
	if p == asked { // what is above the bound is not remembered: it has none
		b.known[p] = d
	}
	return d
}

func (p pile) key(day string) string {
	key := strings.Join([]string{day, p.upstream, p.route, p.prefix, kindWords[p.kind] + p.made}, sep)
	if p.http {
		key += sep + overHTTP
	}
	return key
}

// open reads what the day has: after a restart it goes on. What the day before
// has not written yet is kept to be written.
func (b *sizeBook) open(day string) error {
	all, count := map[string]*daySizes{}, map[string]int{}
	err := b.spool.Scan(SizesNamespace, day+sep, func(key string, value []byte) bool {
		if h, err := sizes.Decode(value); err == nil { // a damaged one begins anew
			all[key] = &daySizes{key: key, histogram: h}
			_, rest, _ := strings.Cut(key, sep)
			upstream, _, _ := strings.Cut(rest, sep)
			count[upstream]++
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("billing: reading the sizes of the day: %w", err)
	}
	for key, d := range b.all {
		if d.dirty {
			all[key] = d
		}
	}
	b.day, b.all, b.known, b.count = day, all, map[pile]*daySizes{}, count
	return nil
}

// flush puts what has changed into a batch. What cannot be committed is given
// again with the next.
func (b *sizeBook) flush(batch *bridge.Batch) (put []*daySizes) {
	for _, d := range b.all {
		if d.dirty {
			d.dirty = false
			batch.Put(SizesNamespace, d.key, d.histogram.Encode())
			put = append(put, d)
		}
	}
	return put
}

// parseSizesKey is the inverse of a histogram's key. Those of earlier versions have no
// kind.
func parseSizesKey(key string) (day time.Time, p pile, ok bool) {
	f := strings.Split(key, sep)
	if len(f) < 4 {
		return time.Time{}, pile{}, false
	}
	p = pile{upstream: f[1], route: f[2], prefix: f[3], kind: Untold}
	more := f[4:]
	if len(more) > 0 && more[0] != overHTTP {
		if p.kind, p.made, ok = kindOf(more[0]); !ok {
			return time.Time{}, pile{}, false
		}
		more = more[1:]
	}
	if p.http = len(more) == 1 && more[0] == overHTTP; len(more) > 0 && !p.http {
		return time.Time{}, pile{}, false
	}
	day, _, ok = parseHour(f[0])
	return day, p, ok
}
