package decisions

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

const (
	maxQuestions   = 4096   // waiting for the candidate
	maxDifferences = 1000   // told apart; more are only counted
	maxCandidates  = 20_000 // principals whose grants are kept
	tellEvery      = 500 * time.Millisecond
)

// ErrBusy says that a dry run is under way already.
var ErrBusy = errors.New("a dry run is under way already; one at a time")

// Difference is a request that the candidate answers otherwise. Requests that
// differ in nothing else are one Difference.
type Difference struct {
	ID int `json:"id"`
	Subject
	Active    Verdict   `json:"active"`
	Candidate Verdict   `json:"candidate"`
	Count     int64     `json:"count"`
	First     time.Time `json:"first"`

	told bool // its count is about to be
}

// Progress is how far a dry run is.
type Progress struct {
	Asked   int64 `json:"asked"`   // requests that both have answered
	Differ  int64 `json:"differ"`  // of them, answered otherwise
	More    int64 `json:"more"`    // of those, beyond the differences that are told apart
	Skipped int64 `json:"skipped"` // requests left out, because the candidate did not keep up
	Present int64 `json:"present"` // of Asked: connections and subscriptions that were there at the start
}

// question is a request with the active policy's answer.
type question struct {
	who    *bridge.Principal
	ask    bridge.Request
	answer bridge.Decision
}

// run is a dry run. All but offer belongs to one goroutine.
type run struct {
	candidate bridge.Authorizer
	questions chan question
	skipped   atomic.Int64

	progress Progress
	grants   map[*bridge.Principal]bridge.Grants
	found    map[subjectKey]*Difference
	changed  []*Difference // since they were told last
}

// subjectKey tells differences apart.
type subjectKey struct {
	subject
	action             bridge.Action
	name, share, topic string // topic: of the will, or of a direct message
	allowed            bool
}

// offer gives a question to the dry run, unless too many wait.
func (r *run) offer(q question) {
	select {
	case r.questions <- q:
	default:
		r.skipped.Add(1)
	}
}

// DryRun asks candidate whatever the active policy is asked until ctx ends, and
// tells what is answered otherwise, again whenever its count has grown. Before
// that it asks about those who are there: standing calls its argument with what
// they were let in for. An error of tell ends it. At most one runs at a time,
// and none has any effect on what the active policy answers.
func (l *Log) DryRun(ctx context.Context, candidate bridge.Authorizer, standing func(func(*bridge.Principal, bridge.Request) bool), tell func([]*Difference, Progress) error) error {
	r := &run{
		candidate: candidate, questions: make(chan question, maxQuestions),
		grants: map[*bridge.Principal]bridge.Grants{}, found: map[subjectKey]*Difference{},
	}
	if !l.dry.CompareAndSwap(nil, r) {
		return ErrBusy
	}
	defer l.dry.Store(nil)
	if err := r.present(ctx, l, standing, tell); err != nil {
		return err
	}
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case q := <-r.questions:
			r.compare(q, l.now())
		case <-tick.C:
			if err := r.tell(tell); err != nil {
				return err
			}
		}
	}
}

// present compares those who are there, by what the active policy answers now.
func (r *run) present(ctx context.Context, l *Log, standing func(func(*bridge.Principal, bridge.Request) bool), tell func([]*Difference, Progress) error) error {
	active := map[*bridge.Principal]bridge.Grants{}
	standing(func(p *bridge.Principal, ask bridge.Request) bool {
		g := grantsOf(active, l.policy, p)
		r.compare(question{p, ask, g.Decide(ask)}, l.now())
		r.progress.Present++
		return ctx.Err() == nil
	})
	return r.tell(tell)
}

func (r *run) tell(tell func([]*Difference, Progress) error) error {
	changed := r.changed
	r.changed = nil
	for _, d := range changed {
		d.told = false
	}
	r.progress.Skipped = r.skipped.Load()
	return tell(changed, r.progress)
}

// compare asks the candidate.
func (r *run) compare(q question, at time.Time) {
	answer := grantsOf(r.grants, r.candidate, q.who).Decide(q.ask)
	r.progress.Asked++
	if answer.Allowed == q.answer.Allowed {
		return
	}
	r.progress.Differ++
	who := subjectOf(q.who)
	key := subjectKey{who, q.ask.Action, q.ask.Name, q.ask.Share, q.ask.WillTopic + q.ask.Topic, q.answer.Allowed}
	d := r.found[key]
	if d == nil {
		if len(r.found) >= maxDifferences {
			r.progress.More++
			return
		}
		d = &Difference{
			ID: len(r.found) + 1, Subject: who.asks(&q.ask),
			Active: verdictOf(q.answer), Candidate: verdictOf(answer), First: at.UTC(),
		}
		r.found[key] = d
	}
	d.Count++
	if !d.told {
		d.told = true
		r.changed = append(r.changed, d)
	}
}

// grantsOf finds or makes the grants of a principal by a policy. One that may do
// nothing has grants that say so.
func grantsOf(known map[*bridge.Principal]bridge.Grants, policy bridge.Authorizer, p *bridge.Principal) bridge.Grants {
	g := known[p]
	if g != nil {
		return g
	}
	g, err := policy.Grants(p)
	if err != nil {
		g = refused(err.Error())
	}
	if len(known) >= maxCandidates {
		clear(known) // they have come and gone
	}
	known[p] = g
	return g
}

// refused are the grants of who may do nothing.
type refused string

// Decide implements [bridge.Grants].
func (r refused) Decide(bridge.Request) bridge.Decision { return bridge.Decision{Reason: string(r)} }
