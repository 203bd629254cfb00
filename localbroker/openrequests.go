package localbroker

import (
	"slices"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Bounds of the requests to services that await their answer, of all devices. The
// bytes are those of ten thousand with topics and tokens as AWS takes them.
const (
	mostOpenRequests = 10_000
	mostOpenBytes    = 8 << 20
)

// openRequest is a request that awaits its answer.
type openRequest struct {
	who   *bridge.Principal // of the connection that asked, and of no other
	topic serviceTopic
	token string // clientToken, or empty
	qos   byte
	life  time.Duration // how long the answer is awaited
	until time.Duration // on the broker's age

	// overdue says that the device has had its answer from us. The request is
	// kept for as long again, since the cloud may still answer: see add.
	overdue bool
}

// openRequests knows who asked what. The zero value is ready.
type openRequests struct {
	mu      sync.Mutex
	byTopic map[string][]*openRequest // of the request; oldest first
	byThing map[string]int
	total   int
	bytes   int
}

// size is what a request costs in memory, about.
func (r *openRequest) size() int { return 256 + len(r.topic.request) + len(r.topic.thing) + len(r.token) }

// add notes a request, unless there are too many about its thing or in all. A
// provisioning answer has no token and no thing that says whose it is, so as
// long as one device's request may still be answered, another's is not sent.
func (t *openRequests) add(r *openRequest, perThing int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	here := t.byTopic[r.topic.request]
	if t.total >= mostOpenRequests || t.bytes+r.size() > mostOpenBytes || t.byThing[r.about()] >= perThing {
		return false
	}
	if r.topic.service == serviceProvisioning && slices.ContainsFunc(here, func(o *openRequest) bool { return o.who != r.who }) {
		return false
	}
	if t.byTopic == nil {
		t.byTopic, t.byThing = map[string][]*openRequest{}, map[string]int{}
	}
	t.byTopic[r.topic.request] = append(here, r)
	t.byThing[r.about()]++
	t.total++
	t.bytes += r.size()
	return true
}

// about is what the number of open requests is bounded for.
func (r *openRequest) about() string {
	if r.topic.thing == "" {
		return r.topic.request
	}
	return r.topic.thing
}

// remove forgets a request that was not sent.
func (t *openRequests) remove(r *openRequest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(r)
}

func (t *openRequests) removeLocked(r *openRequest) {
	here := t.byTopic[r.topic.request]
	i := slices.Index(here, r)
	if i < 0 {
		return
	}
	if here = slices.Delete(here, i, i+1); len(here) > 0 {
		t.byTopic[r.topic.request] = here
	} else {
		delete(t.byTopic, r.topic.request)
	}
	if t.byThing[r.about()]--; t.byThing[r.about()] == 0 {
		delete(t.byThing, r.about())
	}
	t.total--
	t.bytes -= r.size()
}

// take finds the request that an answer belongs to, and forgets it; nil when
// nobody can be said to have asked. Services answer without a token when they
// could not read it: then everything asked there must be of one connection.
func (t *openRequests) take(topic, token string) *openRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	here := t.byTopic[topic]
	i := slices.IndexFunc(here, func(r *openRequest) bool { return r.token == token })
	if i < 0 && token == "" && len(here) > 0 && !slices.ContainsFunc(here, func(r *openRequest) bool { return r.who != here[0].who }) {
		i = 0
	}
	if i < 0 {
		return nil
	}
	r := here[i]
	t.removeLocked(r)
	if r.overdue {
		return nil // it has its answer
	}
	return r
}

// overdue lists the requests whose time is over. They stay for as long again,
// so that an answer that comes late meets nobody else's request.
func (t *openRequests) overdue(now time.Duration) []*openRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total == 0 {
		return nil
	}
	var late, gone []*openRequest
	for _, here := range t.byTopic {
		for _, r := range here {
			switch {
			case r.until > now:
			case r.overdue:
				gone = append(gone, r)
			default:
				r.overdue, r.until = true, now+r.life
				late = append(late, r)
			}
		}
	}
	for _, r := range gone {
		t.removeLocked(r)
	}
	return late
}
