package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/ebbgate/ebbgate/bridge"
)

// SiteOptions bound the operator's own Rego.
type SiteOptions struct {
	Timeout time.Duration `koanf:"rego_timeout" doc:"How long the site's own Rego may take for one answer, 10ms to 5s; one that takes longer denies."`
	Entries int           `koanf:"rego_entries" doc:"How many answers of the site's own Rego are remembered, 1000 to 10000000; about 300 bytes each."`
}

func defaultSite() SiteOptions { return SiteOptions{Timeout: 250 * time.Millisecond, Entries: 65_536} }

// complete puts the defaults in.
func (o SiteOptions) complete() SiteOptions {
	d := defaultSite()
	if o.Timeout == 0 {
		o.Timeout = d.Timeout
	}
	if o.Entries == 0 {
		o.Entries = d.Entries
	}
	return o
}

func (o SiteOptions) problems() []bridge.Problem {
	var out []bridge.Problem
	if o = o.complete(); o.Timeout < 10*time.Millisecond || o.Timeout > 5*time.Second {
		out = append(out, bridge.Problem{Path: "rego_timeout", Text: o.Timeout.String() + " is out of range", Remedy: "write a duration from 10ms to 5s"})
	}
	if o.Entries < 1000 || o.Entries > 10_000_000 {
		out = append(out, bridge.Problem{Path: "rego_entries", Text: fmt.Sprintf("%d is out of range", o.Entries), Remedy: "write a number from 1000 to 10000000"})
	}
	return out
}

// SitePolicy is what decisions name as their policy when the operator's own
// Rego has denied.
const SitePolicy = "data.ebbgate.site"

// siteRules are the operator's own Rego: package ebbgate.site in the *.rego files
// beside the documents. They say whom they deny what, in addition to the
// documents, and cannot allow anything.
type siteRules struct {
	query   rego.PreparedEvalQuery
	timeout time.Duration
	now     func() time.Time
	answers *cache[siteKey, *siteAnswer]
}

// siteKey is a question: the same principal, action and name have one answer.
type siteKey struct {
	bound  *bound
	action string
	name   string
	share  string
	will   string // and what else a CONNECT or a direct message brings
}

// siteAnswer is why the site denies; none when it does not.
type siteAnswer struct {
	reasons []string
	until   time.Time // zero: for good. An answer that failed is tried again
}

// retrySite is how long an answer that failed denies before the next attempt.
const retrySite = 10 * time.Second

// narrow takes away what the site denies of what the documents allow. It
// reports whether the answer is for good.
func (s *siteRules) narrow(b *bound, r *request, d bridge.Decision) (bridge.Decision, bool) {
	key := siteKey{b, r.action, r.name, r.share, ""}
	if r.action == string(bridge.ActionConnect) {
		key.will = strings.Join(r.attributes, ",") + " " + r.willTopic
	}
	if r.topic != nil {
		key.will = *r.topic
	}
	a := s.answers.get(key)
	if a == nil || !a.until.IsZero() && !s.now().Before(a.until) {
		a = s.ask(context.Background(), b.who, r)
		s.answers.put(key, a)
	}
	return a.decision(d), a.until.IsZero()
}

// decision is d, which allows, unless the site has reasons to deny.
func (a *siteAnswer) decision(d bridge.Decision) bridge.Decision {
	if len(a.reasons) == 0 {
		return d
	}
	return bridge.Decision{Explicit: true, Policy: SitePolicy, Reason: "denied by the site's rules: " + shorten(strings.Join(a.reasons, "; "))}
}

// ask evaluates deny. Whatever goes wrong denies.
func (s *siteRules) ask(ctx context.Context, input map[string]any, r *request) *siteAnswer {
	reasons, err := s.deny(ctx, input, r)
	if err != nil {
		return &siteAnswer{reasons: []string{err.Error()}, until: s.now().Add(retrySite)}
	}
	return &siteAnswer{reasons: reasons}
}

var errSite = errors.New("the site's rules gave no answer")

func (s *siteRules) deny(ctx context.Context, principal map[string]any, r *request) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	input, err := object(siteInput(principal, r))
	if err != nil {
		return nil, err
	}
	term, err := answer(ctx, s.query, input)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w within %s: %w", errSite, s.timeout, ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSite, err)
	}
	set, ok := term.Value.(ast.Set)
	if !ok {
		return nil, fmt.Errorf("%w: deny is no set of reasons", errSite)
	}
	var reasons []string
	err = set.Iter(func(t *ast.Term) error {
		text, ok := t.Value.(ast.String)
		if !ok {
			return fmt.Errorf("%w: %s in deny is no text", errSite, shorten(t.String()))
		}
		reasons = append(reasons, string(text))
		return nil
	})
	slices.Sort(reasons)
	return reasons, err
}

// siteInput is input of the site's rules.
func siteInput(principal map[string]any, r *request) map[string]any {
	input := map[string]any{"principal": principal, "action": r.action, "resource": r.kind + r.name, "name": r.name}
	if r.share != "" {
		input["share"] = r.share
	}
	if r.topic != nil {
		input["topic"] = *r.topic
	}
	if r.action == string(bridge.ActionConnect) {
		connect := map[string]any{"persistent": slices.Contains(r.attributes, "PersistentConnect"), "will": r.hasWill}
		if r.hasWill {
			connect["will_topic"] = r.willTopic
		}
		input["connect"] = connect
	}
	return input
}

// sitePrincipal is input.principal of the site's rules.
func sitePrincipal(st standing, p *bridge.Principal) map[string]any {
	out := map[string]any{"client_id": p.ClientID, "user": p.User, "listener": p.Listener, "policies": st.policies, "protocol": int(p.Protocol)}
	put := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	x := st.session
	put("source_ip", x.sourceIP)
	put("server_name", p.ServerName)
	if x.thing != "" {
		attributes := map[string]any{}
		for name, value := range x.attribute {
			attributes[name] = value
		}
		out["thing"] = map[string]any{"name": x.thing, "type": x.thingType, "attributes": attributes, "groups": st.groups, "exclusive": x.exclusive}
	}
	if c := x.certificate; c != nil {
		out["certificate"] = map[string]any{"id": c.id, "serial": c.serial, "subject": lists(c.subject), "issuer": lists(c.issuer)}
	}
	return out
}
