package account

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/policy"
)

// questions are those of the cases; without cases those that the things and
// their documents suggest; without things those of each document by itself.
func (v *verification) questions() ([]question, error) {
	if len(v.opts.Cases) > 0 {
		return v.ofCases(), nil
	}
	var out []question
	var err error
	if v.fleet != nil && len(v.fleet.active()) > 0 {
		out, err = v.ofThings()
	} else {
		out, err = v.ofDocuments()
	}
	if n := v.opts.Limit; err == nil && n > 0 && len(out) > n {
		v.out.Left = len(out) - n
		out = out[:n]
	}
	return out, err
}

// ofThings asks as the things would when they connect.
func (v *verification) ofThings() ([]question, error) {
	var out []question
	for _, c := range v.fleet.active() {
		about := client{id: c.thing, values: v.fleet.Things[c.thing].values(c.thing)}
		asks := []policy.Question{{Action: "iot:Connect", Resource: "client/" + c.thing}}
		for _, name := range c.policies {
			more, err := derive(v.docs[name].Text, about)
			if err != nil {
				return nil, fmt.Errorf("policy %q: %w", name, err)
			}
			for _, q := range more {
				if !slices.ContainsFunc(asks, func(o policy.Question) bool { return o.Action == q.Action && o.Resource == q.Resource }) {
					asks = append(asks, q)
				}
			}
		}
		for _, ask := range asks {
			q := question{name: "thing " + c.thing, clientID: c.thing, principal: v.prefix + "cert/" + c.id, policies: v.awsNames(c.policies), attached: v.awsNames(v.fleet.Certificates[c.id].Policies), ask: ask}
			if id, ok := strings.CutPrefix(ask.Resource, "client/"); ok {
				q.clientID = id
			}
			if q.clientID != c.thing { // group policies are not for a client of another name
				q.policies = q.attached
			}
			q.here = v.engineSays(c, q.clientID, ask)
			out = append(out, q)
		}
		if v.opts.Limit > 0 && len(out) > 10*v.opts.Limit {
			break // enough to say that there are more
		}
	}
	return out, nil
}

// engineSays is what the gateway would decide about the client.
func (v *verification) engineSays(c fleetClient, clientID string, ask policy.Question) func(context.Context) (policy.Answer, error) {
	return func(ctx context.Context) (policy.Answer, error) {
		p := bridge.Principal{ClientID: clientID, User: c.id, CertificateID: c.id, Certificate: v.fleet.certificate(c.id), Protocol: 5}
		_, name, _ := strings.Cut(ask.Resource, "/")
		return v.engine.Explain(ctx, &p, bridge.Request{Action: bridge.Action(ask.Action), Name: name})
	}
}

// ofDocuments asks about each document by itself, for a client without a thing.
func (v *verification) ofDocuments() ([]question, error) {
	var out []question
	for _, name := range slices.Sorted(maps.Keys(v.docs)) {
		about := client{id: "ebbgate-verify", values: map[string]string{"iot:clientid": "ebbgate-verify"}}
		asks, err := derive(v.docs[name].Text, about)
		if err != nil {
			return nil, fmt.Errorf("policy %q: %w", name, err)
		}
		for _, ask := range asks {
			q := question{name: "policy " + name, clientID: about.id, policies: v.awsNames([]string{name}), ask: ask}
			if id, ok := strings.CutPrefix(ask.Resource, "client/"); ok {
				q.clientID = id
			}
			q.here = v.deskSays([]policy.Document{v.docs[name]}, policy.Context{ClientID: q.clientID}, ask)
			out = append(out, q)
		}
	}
	return out, nil
}

func (v *verification) deskSays(docs []policy.Document, c policy.Context, ask policy.Question) func(context.Context) (policy.Answer, error) {
	return func(ctx context.Context) (policy.Answer, error) { return v.desk.Ask(ctx, docs, c, ask) }
}

func (v *verification) awsNames(here []string) []string {
	out := make([]string, len(here))
	for i, name := range here {
		out[i] = v.theirs[name]
	}
	return distinct(out)
}

// distinct sorts names and drops repetitions.
func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
