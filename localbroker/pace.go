package localbroker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/bridge"
)

// pace is what becomes of traffic above a quota of pace. A gateway can well
// keep what AWS would throw away or delay, so that profile aws-edge only tells.
type pace byte

const (
	paceIgnores pace = iota // quotas.pace ignore
	paceWarns
	paceBites // quotas.pace enforce
)

func paceOf(text string) pace {
	switch text {
	case paceEnforce:
		return paceBites
	case paceWarn:
		return paceWarns
	}
	return paceIgnores
}

// quota is a quota of pace.
type quota byte

const (
	quotaConnects quota = iota
	quotaConnectsOfClient
	quotaPublishes
	quotaBytes
	quotaSubscribes
	quotaPublishesIn
	quotaPublishesOut
	quotaQueued
	quotaReplay
	quotaGroupReplay
	quotaRetained
	quotaRetainedOfTopic
	quotaGroupChanges
	quotaGetRetained
	quotaListRetained
	quotaDeleteConnection
	quotaGetConnection
	quotaListSubscriptions
	quotaDirect
	quotaKinds
)

// quotaInfo is a quota for people.
type quotaInfo struct {
	id, code string // row of our table, code of AWS Service Quotas
	key      string // of the configuration
	would    string // what AWS does with what is above: discarded, delayed or refused
	unit     string // what is counted
	limit    string // the bound in words, with %d
}

// info describes a quota. It is a switch and not a table, so that a kind
// without words does not compile past its test.
func (q quota) info() quotaInfo {
	switch q {
	case quotaConnects:
		return quotaInfo{"Q02", "L-AEA1E176", "broker.quotas.connects_per_second", "refused", "CONNECTs", "%d CONNECTs a second of an account"}
	case quotaConnectsOfClient:
		return quotaInfo{"Q03", "L-033DE216", "broker.quotas.connects_per_client_id", "refused", "CONNECTs", "%d CONNECTs a second of one client id"}
	case quotaPublishes:
		return quotaInfo{"Q06", "L-083F3861", "listeners[].quotas.publishes_per_second", "discarded", "PUBLISHes", "%d PUBLISHes a second of one connection"}
	case quotaBytes:
		return quotaInfo{"Q07", "L-D9C66F9D", "listeners[].quotas.bytes_per_second", "delayed", "bytes", "%d bytes a second of one connection"}
	case quotaSubscribes:
		return quotaInfo{"Q18", "L-589D5E1D", "broker.quotas.subscribes_per_second", "refused", "filters", "%d filters a second in the SUBSCRIBEs of an account"}
	case quotaPublishesIn:
		return quotaInfo{"Q20", "L-4B33E451", "broker.quotas.publishes_in_per_second", "discarded", "PUBLISHes", "%d PUBLISHes a second from the clients of an account"}
	case quotaPublishesOut:
		return quotaInfo{"Q21", "L-FE4EDCF9", "broker.quotas.publishes_out_per_second", "discarded", "PUBLISHes", "%d PUBLISHes a second to the clients of an account"}
	case quotaQueued:
		return quotaInfo{"Q23", "L-35DA9240", "broker.quotas.queued_per_second", "discarded", "messages", "%d messages a second stored for the absent sessions of an account"}
	case quotaReplay:
		return quotaInfo{"Q25", "", "listeners[].quotas.replay_per_second", "delayed", "messages", "%d stored messages a second to one session"}
	case quotaGroupReplay:
		return quotaInfo{"Q26", "", "listeners[].quotas.group_replay_per_second", "delayed", "messages", "%d queued messages a second to one member of a share group"}
	case quotaRetained:
		return quotaInfo{"Q28", "L-BAFC6221", "broker.quotas.retained_per_second", "discarded", "PUBLISHes", "%d PUBLISHes with RETAIN a second of an account"}
	case quotaRetainedOfTopic:
		return quotaInfo{"Q29", "L-771FD74A", "broker.quotas.retained_per_topic", "discarded", "PUBLISHes", "%d PUBLISHes with RETAIN a second on one topic"}
	case quotaGroupChanges:
		return quotaInfo{"Q34", "L-757705D9", "broker.quotas.share_group_changes_per_second", "refused", "filters", "%d SUBSCRIBEs and UNSUBSCRIBEs a second of one share group"}
	case quotaGetRetained:
		return quotaInfo{"Q30", "L-1243AB32", "broker.quotas.get_retained_per_second", "refused", "requests", "%d GetRetainedMessages a second of an account"}
	case quotaListRetained:
		return quotaInfo{"Q31", "L-05CA9647", "broker.quotas.list_retained_per_second", "refused", "requests", "%d ListRetainedMessages a second of an account"}
	case quotaDeleteConnection:
		return quotaInfo{"Q46", "L-6F708547", "broker.quotas.delete_connection_per_second", "refused", "requests", "%d DeleteConnections a second, of an account or about one client id"}
	case quotaGetConnection:
		return quotaInfo{"Q47", "L-8DDC8969", "broker.quotas.get_connection_per_second", "refused", "requests", "%d GetConnections a second, of an account or about one client id"}
	case quotaListSubscriptions:
		return quotaInfo{"Q48", "L-AB85397C", "broker.quotas.list_subscriptions_per_second", "refused", "requests", "%d ListSubscriptions a second, of an account or about one client id"}
	case quotaDirect:
		return quotaInfo{"Q49", "L-889910A2", "broker.quotas.direct_messages_per_second", "refused", "requests", "%d SendDirectMessages a second of an account"}
	default:
		return quotaInfo{}
	}
}

// quotas are the quotas of pace at work: the account's buckets, and what was
// above them and above those of the connections.
type quotas struct {
	now     func() time.Time
	account [quotaKinds]*rate.Limiter // nil where a connection or a key has the bucket
	clients keyed                     // Q03, by client id
	topics  keyed                     // Q29, by topic
	groups  keyed                     // Q34, by share group
	counts  [quotaKinds]quotaCount

	requests map[quota]*keyed // Q46-Q48, by client id
}

// quotaCount counts what was above one quota.
type quotaCount struct {
	warned   atomic.Int64 // passed; AWS would have thrown it away, delayed or refused it
	enforced atomic.Int64 // discarded, delayed or refused, as AWS does

	mu   sync.Mutex
	last quotaExample // guarded by mu
	told int64        // warned when the warning was raised last; of the sweep
	rose time.Time    // of the sweep
}

// quotaExample is the latest who was above a quota.
type quotaExample struct {
	client, listener, name string
	limit                  int
}

func newQuotas(o AccountQuotas, now func() time.Time) *quotas {
	q := &quotas{now: now, requests: o.requestBuckets()}
	for k, n := range map[quota]int{
		quotaConnects: o.ConnectsPerSecond, quotaSubscribes: o.SubscribesPerSecond,
		quotaPublishesIn: o.PublishesInPerSecond, quotaPublishesOut: o.PublishesOutPerSecond,
		quotaQueued: o.QueuedPerSecond, quotaRetained: o.RetainedPerSecond,
		quotaGetRetained: o.GetRetainedPerSecond, quotaListRetained: o.ListRetainedPerSecond,
		quotaDeleteConnection: o.DeleteConnPerSecond, quotaGetConnection: o.GetConnPerSecond,
		quotaListSubscriptions: o.ListSubsPerSecond, quotaDirect: o.DirectMessagesPerSecond,
	} {
		q.account[k] = perSecond(n)
	}
	q.clients.rate, q.topics.rate, q.groups.rate = o.ConnectsPerClientID, o.RetainedPerTopic, o.ShareGroupChanges
	return q
}

// perSecond is a bucket that holds what may come in a second.
func perSecond(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(n), n) }

// above counts n that are above a quota, and reports whether they may pass all
// the same.
func (q *quotas) above(k quota, p pace, n int, e quotaExample) bool {
	count := &q.counts[k]
	if count.mu.TryLock() { // an example is enough: nobody waits for it
		count.last = e
		count.mu.Unlock()
	}
	if p == paceBites {
		count.enforced.Add(int64(n))
		return false
	}
	count.warned.Add(int64(n))
	return true
}

// takes takes one from a bucket, and reports whether it may pass.
func (q *quotas) takes(k quota, bucket *rate.Limiter, p pace, e quotaExample) bool {
	if p == paceIgnores || bucket == nil || bucket.AllowN(q.now(), 1) {
		return true
	}
	e.limit = bucket.Burst()
	return q.above(k, p, 1, e)
}

// QuotaCount is what was above one quota of pace since the start.
type QuotaCount struct {
	Quota    string // row of AWS's table, such as "Q06"
	Key      string // of the configuration
	Warned   int64  // passed; AWS would have discarded, delayed or refused it
	Enforced int64  // discarded, delayed or refused
}

// list is the counts of all quotas, zeros included.
func (q *quotas) list() []QuotaCount {
	out := make([]QuotaCount, 0, quotaKinds)
	for k := range quotaKinds {
		info := k.info()
		out = append(out, QuotaCount{info.id, info.key, q.counts[k].warned.Load(), q.counts[k].enforced.Load()})
	}
	return out
}

// quotaWarningFor is how long a warning stays after the last of its kind.
const quotaWarningFor = 10 * time.Minute

// sweep forgets keys that are within their quota, and raises and clears the
// warnings of what AWS would not have let pass.
func (q *quotas) sweep(now time.Time, health *bridge.Health, log *quietLog) {
	q.clients.sweep(now)
	q.topics.sweep(now)
	q.groups.sweep(now)
	for _, one := range q.requests {
		one.sweep(now)
	}
	for k := range quotaKinds {
		count := &q.counts[k]
		n := count.warned.Load()
		code := "aws-quota-" + k.info().id
		switch {
		case n > count.told:
			w := bridge.Warning{Code: code, Severity: bridge.Notice, Text: k.warning(n, count.example())}
			if count.told == 0 || now.Sub(count.rose) > quotaWarningFor {
				log.warn(code, w.Text)
			}
			count.told, count.rose = n, now
			if health != nil {
				health.Raise(w)
			}
		case count.told > 0 && now.Sub(count.rose) > quotaWarningFor && health != nil:
			health.Clear(code)
		}
	}
}

func (c *quotaCount) example() quotaExample {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// warning says what AWS would have done, and where.
func (q quota) warning(n int64, e quotaExample) string {
	info := q.info()
	where := "last of client " + e.client + " on listener " + e.listener
	if e.name != "" {
		where += ", " + e.name
	}
	return fmt.Sprintf("AWS IoT Core would have %s %d %s since the start: they were above %s (%s, %s), %s; spread them, or try the devices on a listener of profile aws, where this is enforced",
		info.would, n, info.unit, fmt.Sprintf(info.limit, e.limit), info.id, info.key, where)
}
