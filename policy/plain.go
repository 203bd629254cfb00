package policy

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/ebbgate/ebbgate/bridge"
)

// maxPlain is how many pairs of documents and context a [Plain] remembers.
const maxPlain = 4096

// Plain is a desk for thousands of questions. The rules decide as [Desk.Ask]
// lets them, but without reasons, which are most of the work; and documents
// that were read and compiled for a client are remembered.
type Plain struct {
	*Desk
	query rego.PreparedEvalQuery
	seen  *cache[[sha256.Size]byte, *readSet]
}

// readSet are documents for one client. They are read at the first question
// and compiled at the first that asks for that.
type readSet struct {
	documents []*document
	wrong     error // their faults

	once    sync.Once
	program *program
	err     error
}

// Plain prepares the rules for deciding only.
func (d *Desk) Plain(ctx context.Context) (*Plain, error) {
	query, err := d.rules.query(ctx, "data.ebbgate.iot.decision.outcome")
	return &Plain{Desk: d, query: query, seen: newCache[[sha256.Size]byte, *readSet](maxPlain)}, err
}

// Outcome is that of [Answer]. Its errors are those of Ask.
func (p *Plain) Outcome(ctx context.Context, docs []Document, c Context, q Question) (string, error) {
	in, _, err := p.remember(docs, c, q)
	if err != nil {
		return "", err
	}
	input, err := object(in.input())
	if err != nil {
		return "", err
	}
	term, err := answer(ctx, p.query, input)
	if err != nil {
		return "", err
	}
	text, _ := term.Value.(ast.String)
	outcome, ok := regoOutcomes[string(text)]
	if !ok {
		return "", errAnswer
	}
	if outcome == Allowed && len(p.denied(ctx, in).reasons) > 0 {
		return ExplicitDeny, nil
	}
	return outcome, nil
}

// Compiled is [Desk.Compiled], with what is compiled remembered.
func (p *Plain) Compiled(ctx context.Context, docs []Document, c Context, q Question) (bridge.Decision, error) {
	in, r, err := p.remember(docs, c, q)
	if err != nil {
		return bridge.Decision{}, err
	}
	// What is remembered must not be that somebody stopped waiting for it.
	r.once.Do(func() { r.program, r.err = p.compile(context.WithoutCancel(ctx), in) })
	if r.err != nil {
		return bridge.Decision{}, r.err
	}
	return p.narrow(ctx, in, r.program.decide(&in.request)), nil
}

// remember is prepare, which reads the documents anew only if it has not read
// them for this client and gateway before.
func (p *Plain) remember(docs []Document, c Context, q Question) (*inquiry, *readSet, error) {
	in, err := p.prepare(nil, c, q)
	if err != nil {
		return nil, nil, err
	}
	key, err := rememberKey(docs, c, in.gateway)
	if err != nil {
		return nil, nil, err
	}
	r := p.seen.get(key)
	if r == nil {
		whole, err := p.prepare(docs, c, q)
		if _, wrong := errors.AsType[Faults](err); err != nil && !wrong {
			return nil, nil, err
		}
		if r = (&readSet{wrong: err}); err == nil {
			r.documents = whole.documents
		}
		p.seen.put(key, r)
	}
	in.documents = r.documents
	if p.own != nil {
		in.principal = c.ownInput(in.session, in.documents)
	}
	return in, r, r.wrong
}

// rememberKey is the same for the same documents, context and gateway.
func rememberKey(docs []Document, c Context, g gateway) (key [sha256.Size]byte, err error) {
	about, err := json.Marshal(c)
	if err != nil {
		return key, fmt.Errorf("the context of a question: %w", err)
	}
	h := sha256.New()
	add := func(text []byte) {
		fmt.Fprintf(h, "%d:", len(text))
		h.Write(text)
	}
	add(about)
	add([]byte(g.prefix()))
	for _, d := range docs {
		add([]byte(d.Name))
		add([]byte(d.Target))
		add(d.Text)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// compile is what the gateway does once for each client.
func (p *Plain) compile(ctx context.Context, in *inquiry) (*program, error) {
	h, err := p.rules.holdings(ctx, in.documents, in.gateway)
	if err != nil {
		return nil, err
	}
	var names []string
	var used uses
	for _, document := range in.documents {
		names = append(names, document.name)
		used = used.and(document.uses)
	}
	held, err := h.ask(ctx, []holder{{in.session.project(used), names}})
	if err != nil {
		return nil, err
	}
	return newProgram(in.gateway, in.documents, held[0])
}
