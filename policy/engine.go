package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Engine decides by the policy documents and the registry, and follows their
// changes. It implements [bridge.Authorizer] and is safe for concurrent use.
type Engine struct {
	opts    Options
	rules   *rules
	current atomic.Pointer[snapshot]
	reload  sync.Mutex // one Stage or Apply at a time
	staged  uint64     // states read so far
	applied uint64     // the one of them in force
	now     func() time.Time

	connected connected

	undated atomic.Int64
}

var _ bridge.Authorizer = (*Engine)(nil)

// Load reads documents and registry and compiles the rules. When anything is
// wrong the error is [Faults] with all of it, or the problems of opts.
func Load(opts Options) (*Engine, error) {
	if err := opts.problems(); err != nil {
		return nil, err
	}
	rules, err := embeddedRules()
	if err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, rules: rules, now: time.Now}
	if err := e.Reload(); err != nil {
		return nil, err
	}
	return e, nil
}

// Reload reads everything again. The new state takes effect at once for every
// decision, those of connected clients too; on an error, which is as in
// [Load], the last good state stays.
func (e *Engine) Reload() error {
	next, err := e.Stage()
	if err != nil {
		return err
	}
	next.Apply()
	return nil
}

// HasPolicy reports whether there is a document of that name, so that a
// listener which names another one is refused at the start.
func (e *Engine) HasPolicy(name string) bool { return e.current.Load().documents[name] != nil }

// Policies counts the documents in force.
func (e *Engine) Policies() int { return len(e.current.Load().documents) }

// Things counts the things in the registry.
func (e *Engine) Things() int { return len(e.current.Load().registry.things) }

// standing is where a principal stands in one snapshot.
type standing struct {
	session  session
	policies []string
	groups   []string // of the thing
}

// errNoPolicy says that a principal names a document that is not there. It is
// denied everything: the missing one could hold a Deny.
var errNoPolicy = errors.New("there is no policy")

// attached finds the documents of these names, and what they ask for.
func (s *snapshot) attached(names []string) ([]*document, uses, error) {
	var documents []*document
	var used uses
	for _, name := range names {
		d := s.documents[name]
		if d == nil {
			return nil, used, fmt.Errorf("%w %q: put %s.json into the policies folder", errNoPolicy, name, name)
		}
		documents = append(documents, d)
		used = used.and(d.uses)
	}
	return documents, used, nil
}

// wanted is what a program is compiled from.
type wanted struct {
	key       string // the same for those that share it
	documents []*document
	used      uses
	holder    holder
}

func (s *snapshot) want(st standing) (wanted, error) {
	documents, used, err := s.attached(st.policies)
	if err != nil {
		return wanted{}, err
	}
	projected := st.session.project(used)
	key := strings.Join(st.policies, "\x00") + "\x00\x00" + projected.key()
	return wanted{key, documents, used, holder{projected, st.policies}}, nil
}

// program finds or compiles what a principal holds.
func (s *snapshot) program(ctx context.Context, st standing) (*program, error) {
	w, err := s.want(st)
	if err != nil {
		return nil, err
	}
	if p := s.programs.get(w.key); p != nil {
		return p, nil
	}
	held, err := s.holdings.ask(ctx, []holder{w.holder})
	if err != nil {
		return nil, err
	}
	p, err := newProgram(s.gateway, w.documents, held[0])
	if err != nil {
		return nil, err
	}
	s.programs.put(w.key, p)
	return p, nil
}
