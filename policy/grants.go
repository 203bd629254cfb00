package policy

import (
	"context"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
)

// grants are what one principal may do. They belong to a snapshot and notice
// at the next decision that there is a newer one.
type grants struct {
	engine    *Engine
	principal bridge.Principal
	bound     atomic.Pointer[bound]
	binding   sync.Mutex
}

// bound is grants compiled for one snapshot.
type bound struct {
	snapshot *snapshot
	program  *program // nil: everything is denied, for this reason
	reason   string
	source   string // aws:SourceIp
}

// Grants compiles what a principal may do. They follow reloads: a certificate
// that is no longer active, a policy that is gone, deny everything from then
// on. The error is for a principal that may do nothing already now.
func (e *Engine) Grants(p *bridge.Principal) (bridge.Grants, error) {
	g := &grants{engine: e, principal: *p}
	if b := g.bind(e.current.Load()); b.program == nil {
		return nil, bridge.Errorf("authorize", bridge.NotAuthorized, "%s", b.reason)
	}
	return g, nil
}

// bind compiles for a snapshot, once even when many packets wait for it.
func (g *grants) bind(s *snapshot) *bound {
	g.binding.Lock()
	defer g.binding.Unlock()
	if b := g.bound.Load(); b != nil && b.snapshot == s {
		return b
	}
	b := &bound{snapshot: s}
	st, err := s.stand(&g.principal)
	if err == nil {
		b.source = st.session.sourceIP
		b.program, err = s.program(context.Background(), st)
	}
	if err != nil {
		b.program, b.reason = nil, "denied: "+err.Error()
	}
	g.bound.Store(b)
	return b
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
	kind := kindOf(r.Action)
	if kind == "" {
		return bridge.Decision{Reason: "denied: " + shorten(string(r.Action)) + " is no action of a policy"}
	}
	if !utf8.ValidString(r.Name) || !utf8.ValidString(r.WillTopic) {
		return bridge.Decision{Reason: "denied: the name is not valid UTF-8"}
	}
	ask := request{
		action: string(r.Action), kind: kind, name: r.Name,
		attributes: attributesOf(&r), hasWill: r.Will && r.Action == bridge.ActionConnect, willTopic: r.WillTopic,
		source: b.source, clock: g.engine.now,
	}
	return b.program.decide(&ask)
}
