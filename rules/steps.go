package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/rules/where"
)

// What a route decides when a message comes, before it costs any disk: its
// condition, its sample, and Basic Ingest. What needs the payload changed or more
// than one message is package shape's.

// entry is these steps of a route, ready for messages.
type entry struct {
	where   *where.Condition // nil: none
	skip    bool             // what cannot be decided is not taken
	sampler *sampler
}

// Undecided is told of messages whose condition could not be decided.
type Undecided func(route string, err error)

// verdict is what a route says to a message that matches its filter.
type verdict byte

const (
	taken      verdict = iota
	sampledOut         // it is the route's, but not one of its sample: it goes to no other route either
	elsewhere          // its condition does not hold
	undecided          // its condition cannot tell, and the route takes no such messages
)

// What left a message out: the steps, in the ledger, and the reason in the drop
// log.
const (
	stepSample      = "sample"
	stepWhere       = "where"
	reasonUndecided = "undecided"
)

func (r *route) takes(m *bridge.Message, s source, tell Undecided) verdict {
	if r.exempt && shape.Sparkplug(m.Topic) {
		return taken
	}
	if r.where != nil {
		holds, err := r.where.Holds(where.Message{Message: m, ClientID: s.client, Thing: s.thing})
		if err != nil && tell != nil {
			tell(r.name, err)
		}
		switch {
		case err != nil && r.skip:
			return undecided
		case err == nil && !holds:
			return elsewhere
		}
	}
	if shape.Combines(m) && !r.sampler.take(m.Topic) {
		return sampledOut
	}
	return taken
}

// path is where a message goes of the route: to which queue, under which topic.
func (r *route) path(m *bridge.Message) (queue string, topic *template) {
	switch exempt := r.exempt && shape.Sparkplug(m.Topic); {
	case exempt:
		return r.queue, r.topic
	case r.raw != "":
		return r.raw, r.ingest
	default:
		return r.queue, r.ingest
	}
}

// ingestTopic is the template of a route with Basic Ingest before it.
func ingestTopic(u UpRoute) string {
	if u.BasicIngest == "" {
		return u.Topic
	}
	return basicIngest + u.BasicIngest + "/" + u.Topic
}

// maxEvery bounds the interval of a sample.
const maxEvery = 24 * time.Hour

// entry checks the steps that a route decides when a message comes.
func (v *validation) entry(at string, u UpRoute) {
	v.closed(at+"on_error", u.OnError, "keep", "drop")
	if u.Where != "" {
		if _, err := where.Compile(u.Where); err != nil {
			v.add(at+"where", quote(u.Where)+" "+err.Error(), "write a condition in CEL, such as payload.temp > 20 or levels[1] == client_id")
		}
	} else if u.OnError == "drop" && !u.Steps.Reads() {
		v.add(at+"on_error", "says what happens to messages that where, deadband or window cannot read, and there is none of them", "write one of them, or take on_error out")
	}
	if o := u.Sample; o.OneIn < 0 || o.OneIn > 1_000_000 {
		v.add(at+"sample.one_in", fmt.Sprintf("%d is out of range", o.OneIn), "write 0 to 1000000")
	} else if o.OneIn == 1 {
		v.add(at+"sample.one_in", "1 takes every message, as without it", "write 2 or more, or take it out")
	}
	if e := u.Sample.Every; e < 0 || e > maxEvery {
		v.add(at+"sample.every", e.String()+" is out of range", "write a duration up to 24h")
	}
	if u.Sample.OneIn > 0 && u.Sample.Every > 0 {
		v.add(at+"sample.every", "and one_in both thin out", "keep one of them")
	}
	if u.BasicIngest != "" {
		v.basicIngest(at, u)
	}
}

// basicIngest checks a route to Basic Ingest, where there are no subscribers and
// nothing is retained (B146).
func (v *validation) basicIngest(at string, u UpRoute) {
	name := strings.Trim(u.BasicIngest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
	switch {
	case name != "" || len(u.BasicIngest) > 128:
		v.add(at+"basic_ingest", quote(u.BasicIngest)+" is not the name of an AWS IoT rule", "use 1 to 128 letters, digits and _")
	case strings.HasPrefix(u.Topic, "$") && !strings.HasPrefix(u.Topic, "${"):
		v.add(at+"basic_ingest", "goes before a topic that begins with $ already", "write one of them: basic_ingest, or the whole topic")
	case u.Retain == "keep":
		v.add(at+"basic_ingest", "keeps no retained messages", "write retain: clear, or leave basic_ingest out")
	case v.options.TopicLimits == "mqtt":
		v.add(at+"basic_ingest", "is AWS's, and topic_limits says that the upstreams are other brokers", "write topic_limits: aws, or leave basic_ingest out")
	}
}

// ingest parses the topic of a route with Basic Ingest before it.
func (v *validation) ingest(at string, u UpRoute) (*template, bool) {
	t, err := parseTemplate(ingestTopic(u), true)
	return t, v.fault(at+"basic_ingest", u.BasicIngest, err)
}
