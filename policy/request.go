package policy

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// request is one question in the words of the rules.
type request struct {
	action string // as AWS writes it
	kind   string // "topic/"; "" when name is the whole of what is behind the fifth colon; "*" for the resource "*"
	name   string

	attributes []string // iot:ConnectAttributes
	hasWill    bool
	willTopic  string
	share      string           // the ShareName that an iot:Receive is for
	topic      *string          // of a direct message; nil for what is none
	source     string           // aws:SourceIp, or empty
	clock      func() time.Time // aws:CurrentTime, to the second
}

// fact is one value of a key.
type fact struct {
	text  string
	at    moment // when timed
	timed bool
}

// time reads the fact as an instant.
func (f fact) time() (moment, bool) {
	if f.timed {
		return f.at, true
	}
	return instant(f.text)
}

// The keys whose values a request brings, in lower case.
const (
	keyAttributes  = "iot:connectattributes"
	keyWillTopic   = "iot:lastwilltopic"
	keyTopic       = "iot:topic"
	keySourceIP    = "aws:sourceip"
	keyCurrentTime = "aws:currenttime"
	keyEpochTime   = "aws:epochtime"
)

// facts appends the values of a key to an empty buffer.
func (r *request) facts(key string, g gateway, buffer []fact) []fact {
	switch key {
	case keyAttributes:
		for _, a := range r.attributes {
			buffer = append(buffer, fact{text: a})
		}
	case keyWillTopic:
		if r.hasWill {
			buffer = append(buffer, fact{text: g.prefix() + "topic/" + r.willTopic})
		}
	case keyTopic:
		if r.topic != nil {
			buffer = append(buffer, fact{text: *r.topic})
		}
	case keySourceIP:
		if r.source != "" {
			buffer = append(buffer, fact{text: r.source})
		}
	case keyCurrentTime, keyEpochTime:
		if g.switches != nil && g.switches.TimeKeys == "unknown" {
			break
		}
		now := r.clock().Truncate(time.Second)
		text := now.UTC().Format(time.RFC3339)
		if key == keyEpochTime {
			text = strconv.FormatInt(now.Unix(), 10)
		}
		buffer = append(buffer, fact{text: text, at: momentOf(now), timed: true})
	}
	return buffer
}

// kindOf is the type of resource that an action is asked about, with the slash
// before the name; "*" for actions on all at once; "" for what is no action.
func kindOf(action bridge.Action) string {
	switch action {
	case bridge.ActionPublish, bridge.ActionReceive, bridge.ActionRetainPublish, bridge.ActionGetRetained:
		return "topic/"
	case bridge.ActionSubscribe:
		return "topicfilter/"
	case bridge.ActionConnect, bridge.ActionDeleteConnection, bridge.ActionSendDirect, bridge.ActionGetConnection, bridge.ActionListSubscriptions:
		return "client/"
	case "iot:GetThingShadow", "iot:UpdateThingShadow", "iot:DeleteThingShadow",
		"iot:DescribeJobExecution", "iot:GetPendingJobExecutions", "iot:StartNextPendingJobExecution", "iot:UpdateJobExecution":
		return "thing/"
	case "iot:AssumeRoleWithCertificate":
		return "rolealias/"
	case bridge.ActionListRetained, "iot:ListNamedShadowsForThing":
		return "*"
	default:
		return ""
	}
}

// The values of iot:ConnectAttributes, by what a CONNECT asks for.
var connectAttributes = [4][]string{nil, {"PersistentConnect"}, {"LastWill"}, {"PersistentConnect", "LastWill"}}

// attributesOf names what a CONNECT asks for.
func attributesOf(r *bridge.Request) []string {
	if r.Action != bridge.ActionConnect {
		return nil
	}
	n := 0
	if r.Persistent {
		n |= 1
	}
	if r.Will {
		n |= 2
	}
	return connectAttributes[n]
}

// names are what the name may be in the resource: of a shared subscription
// there are two forms, of which switches choose. One has to be allowed, and
// none denied.
func (r *request) names(g gateway, buffer []string) []string {
	receive, subscribe := "either", "share"
	if g.switches != nil {
		receive, subscribe = cmp.Or(g.switches.ShareReceive, receive), cmp.Or(g.switches.ShareSubscribe, subscribe)
	}
	if r.kind == "*" {
		return append(buffer, "")
	}
	if r.share != "" {
		if receive != "share" {
			buffer = append(buffer, r.name)
		}
		if receive != "topic" {
			buffer = append(buffer, "$share/"+r.share+"/"+r.name)
		}
		return buffer
	}
	if r.action != string(bridge.ActionSubscribe) || r.kind != "topicfilter/" || subscribe == "share" || !strings.HasPrefix(r.name, "$share/") {
		return append(buffer, r.name)
	}
	_, filter, ok := strings.Cut(strings.TrimPrefix(r.name, "$share/"), "/")
	if !ok || subscribe == "either" {
		buffer = append(buffer, r.name)
	}
	if ok {
		buffer = append(buffer, filter)
	}
	return buffer
}

// arn is the resource of a request as a whole.
func (r *request) arn(g gateway) string {
	if r.kind == "*" {
		return "*"
	}
	return g.prefix() + r.kind + r.name
}

// addressText is the address as aws:SourceIp has it: IPv4 stays IPv4, and no
// zone, which means nothing outside this host.
func addressText(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.Unmap().WithZone("").String()
}
