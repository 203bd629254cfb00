package policy

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"
)

// batch is how many sessions one evaluation of the rules decides.
const batch = 64

// connected remembers whose grants are in use, without keeping them in use:
// nobody says when a session has ended.
type connected struct {
	mu   sync.Mutex
	list []weak.Pointer[grants]
	most int // the length at which those that are gone are left out
}

func (c *connected) add(g *grants) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) >= c.most {
		live := c.list[:0]
		for _, w := range c.list {
			if w.Value() != nil {
				live = append(live, w)
			}
		}
		clear(c.list[len(live):])
		c.list, c.most = live, max(2*len(live), 1024)
	}
	c.list = append(c.list, weak.Make(g))
}

func (c *connected) all() []*grants {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*grants, 0, len(c.list))
	for _, w := range c.list {
		if g := w.Value(); g != nil {
			out = append(out, g)
		}
	}
	return out
}

// rebind makes the grants in use ready for a snapshot before it comes into
// force, many in one evaluation of the rules and most in none: otherwise each
// would let its next packet wait, and ten thousand sessions take seconds. What
// fails here is left to [grants.bind].
func (s *snapshot) rebind(ctx context.Context, all []*grants) {
	r := &rebinding{
		snapshot: s, heirs: heirs{holdings: s.holdings, known: map[string]*inheritance{}},
		joints: map[string]*joint{}, open: map[*holdings][]*joint{},
	}
	parallel(len(all), batch, func(from, to int) {
		for _, g := range all[from:to] {
			r.join(g)
		}
	})
	for h, joints := range r.open {
		parallel(len(joints), batch, func(from, to int) { r.ask(ctx, h, joints[from:to]) })
	}
}

// rebinding is what one change of snapshots is about.
type rebinding struct {
	snapshot *snapshot
	heirs    heirs

	mu     sync.Mutex
	joints map[string]*joint      // by the program's key
	open   map[*holdings][]*joint // those without a program yet, by what the rules are asked
}

// joint are grants that one program serves.
type joint struct {
	wanted
	before  *program // whose answers are inherited, nil when none are
	legacy  *inheritance
	program *program // nil: not there yet
	waiting []waiting
}

type waiting struct {
	grants   *grants
	standing standing
}

// join finds the program of a grants among those that are there, makes it from
// the one before, or puts the grants on the list.
func (r *rebinding) join(g *grants) {
	s := r.snapshot
	st, err := s.stand(&g.principal)
	if err != nil {
		g.ready.Store(s.refusal(err))
		return
	}
	w, err := s.want(st)
	if err != nil {
		g.ready.Store(s.refusal(err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.joints[w.key]
	if j == nil {
		j = &joint{wanted: w}
		r.joints[w.key] = j
		r.mu.Unlock()
		r.inherit(j, g)
		r.mu.Lock()
		if j.program == nil {
			h := s.holdings
			if j.legacy != nil {
				h = j.legacy.left
			}
			r.open[h] = append(r.open[h], j)
		}
	}
	j.waiting = append(j.waiting, waiting{g, st})
	if j.program != nil {
		r.deliver(j)
	}
}

// deliver gives a program to those who wait for it.
func (r *rebinding) deliver(j *joint) {
	for _, w := range j.waiting {
		w.grants.ready.Store(r.snapshot.bound(j.program, w.standing, &w.grants.principal))
	}
	j.waiting = nil
}

// inherit makes the program from the one that the grants have, or says what
// the rules have to be asked for it. The facts about the session must be the
// same; otherwise they are asked about everything.
func (r *rebinding) inherit(j *joint, g *grants) {
	b := g.bound.Load()
	if b == nil || b.program == nil {
		return
	}
	before, err := b.snapshot.stand(&g.principal)
	if err != nil || before.session.project(j.used).key() != j.holder.session.key() {
		return
	}
	legacy := r.heirs.between(b.program, j.wanted)
	if legacy.left != nil {
		j.before, j.legacy = b.program, legacy
		return
	}
	if p, err := newProgram(r.snapshot.gateway, j.documents, legacy.inherit(b.program.held, held{})); err == nil {
		r.snapshot.programs.put(j.key, p)
		j.program = p
	}
}

// ask lets the rules decide what sessions hold.
func (r *rebinding) ask(ctx context.Context, h *holdings, joints []*joint) {
	holders := make([]holder, len(joints))
	for i, j := range joints {
		holders[i] = j.holder
	}
	answers, err := h.ask(ctx, holders)
	if err != nil {
		return
	}
	for i, j := range joints {
		if j.legacy != nil {
			answers[i] = j.legacy.inherit(j.before.held, answers[i])
		}
		if j.program, err = newProgram(r.snapshot.gateway, j.documents, answers[i]); err != nil {
			continue
		}
		r.snapshot.programs.put(j.key, j.program)
		r.deliver(j)
	}
}

// parallel does n things in pieces, with as many hands as there are.
func parallel(n, piece int, do func(from, to int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), runtime.NumCPU(), n/piece+1) {
		workers.Go(func() {
			for from := int(next.Add(int64(piece))) - piece; from < n; from = int(next.Add(int64(piece))) - piece {
				do(from, min(from+piece, n))
			}
		})
	}
	workers.Wait()
}
