package policy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ebbgate/ebbgate/bridge"
)

// grants are what one principal may do. They belong to a snapshot and notice
// at the next decision that there is a newer one.
type grants struct {
	engine    *Engine
	principal bridge.Principal
	bound     atomic.Pointer[bound]
	ready     atomic.Pointer[bound] // for the snapshot that comes into force next
	binding   sync.Mutex
}

// bound is grants compiled for one snapshot.
type bound struct {
	snapshot *snapshot
	program  *program // nil: everything is denied, for this reason
	reason   string
	source   string         // aws:SourceIp
	who      map[string]any // input.principal of the site's rules
	recent   recent
}

// Grants compiles what a principal may do. They follow reloads: a certificate
// that is no longer active, a policy that is gone, deny everything from then
// on. The error is for a principal that may do nothing already now.
func (e *Engine) Grants(p *bridge.Principal) (bridge.Grants, error) {
	g := &grants{engine: e, principal: *p}
	if b := g.bind(e.current.Load()); b.program == nil {
		return nil, bridge.Errorf("authorize", bridge.NotAuthorized, "%s", b.reason)
	}
	e.connected.add(g)
	return g, nil
}

// bind compiles for a snapshot, once even when many packets wait for it.
func (g *grants) bind(s *snapshot) *bound {
	g.binding.Lock()
	defer g.binding.Unlock()
	if b := g.bound.Load(); b != nil && b.snapshot == s {
		return b
	}
	b := g.ready.Swap(nil)
	if b == nil || b.snapshot != s {
		b = s.bind(&g.principal)
	}
	g.bound.Store(b)
	return b
}

// bind finds what a principal may do.
func (s *snapshot) bind(p *bridge.Principal) *bound {
	st, err := s.stand(p)
	if err != nil {
		return s.refusal(err)
	}
	program, err := s.program(context.Background(), st)
	if err != nil {
		return s.refusal(err)
	}
	return s.bound(program, st, p)
}

// bound is what a principal may do, with what its requests bring along.
func (s *snapshot) bound(p *program, st standing, who *bridge.Principal) *bound {
	b := &bound{snapshot: s, program: p, source: st.session.sourceIP}
	if s.site != nil {
		b.who = sitePrincipal(st, who)
	}
	return b
}

// refusal denies everything.
func (s *snapshot) refusal(why error) *bound {
	return &bound{snapshot: s, reason: "denied: " + why.Error()}
}

// Decide answers one request.
func (g *grants) Decide(r bridge.Request) bridge.Decision {
	current := g.engine.current.Load()
	b := g.bound.Load()
	if b.snapshot != current {
		b = g.bind(current)
	}
	if b.program == nil {
		return bridge.Decision{Reason: b.reason}
	}
	answer, hash := b.recent.find(&r)
	if answer != nil {
		return *answer
	}
	ask, err := g.engine.request(&r, b.source)
	if err != nil {
		return bridge.Decision{Reason: "denied: " + err.Error()}
	}
	d, steady := b.program.decide(&ask), true
	if d.Allowed && b.snapshot.site != nil {
		d, steady = b.snapshot.site.narrow(b, &ask, d)
	}
	if steady {
		b.recent.keep(b.program, &r, hash, d)
	}
	return d
}

var errName = errors.New("the name is not valid UTF-8")

// request is a packet's question in the words of the rules; source is where
// the client comes from.
func (e *Engine) request(r *bridge.Request, source string) (request, error) {
	kind := kindOf(r.Action)
	if kind == "" {
		return request{}, fmt.Errorf("%s is no action of a policy", shorten(string(r.Action)))
	}
	if !validText(r.Name, r.WillTopic, r.Share, r.Topic) {
		return request{}, errName
	}
	share := r.Share
	if r.Action != bridge.ActionReceive {
		share = ""
	}
	var topic *string
	if r.Action == bridge.ActionSendDirect {
		topic = &r.Topic
	}
	return request{
		action: string(r.Action), kind: kind, name: r.Name, share: share, topic: topic,
		attributes: attributesOf(r), hasWill: r.Will && r.Action == bridge.ActionConnect, willTopic: r.WillTopic,
		source: source, clock: e.now,
	}, nil
}
