package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"golang.org/x/sync/errgroup"
)

// perCall is how many questions TestAuthorization takes at once.
const perCall = 10

// compare asks both sides and keeps what differs.
func (v *verification) compare(ctx context.Context, questions []question) error {
	batches := batched(questions)
	var mu sync.Mutex
	done := 0
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(v.parallel)
	found := make([][]Comparison, len(batches))
	skipped := make([][]Skipped, len(batches))
	v.progress(Progress{Stage: "questions", Total: len(questions)})
	for i, batch := range batches {
		g.Go(func() error {
			if within.Err() != nil {
				return nil // the first error is the one to tell
			}
			both, missed, err := v.both(within, batch)
			if err != nil {
				return err
			}
			found[i], skipped[i] = both, missed
			mu.Lock()
			defer mu.Unlock()
			done += len(batch)
			v.progress(Progress{Stage: "questions", Done: done, Total: len(questions)})
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i := range batches {
		v.out.Skipped = append(v.out.Skipped, skipped[i]...)
		for _, c := range found[i] {
			v.out.Asked++
			if c.Here != c.AWS {
				v.out.Differences = append(v.out.Differences, c)
			}
		}
	}
	return context.Cause(ctx)
}

// batched puts questions together that one call can ask: of the same client
// with the same policies. No two of a batch ask the same.
func batched(questions []question) [][]question {
	open := map[string]int{} // of who asks, the batch that takes more
	var out [][]question
	for _, q := range questions {
		who := strings.Join([]string{q.clientID, q.principal, strings.Join(q.policies, ","), strings.Join(q.attached, ",")}, "\x00")
		i, ok := open[who]
		if !ok || len(out[i]) == perCall || slices.ContainsFunc(out[i], func(o question) bool {
			return o.ask.Resource == q.ask.Resource && strings.EqualFold(o.ask.Action, q.ask.Action)
		}) {
			i = len(out)
			out = append(out, nil)
			open[who] = i
		}
		out[i] = append(out[i], q)
	}
	return out
}

// both asks AWS and ourselves the questions of a batch.
func (v *verification) both(ctx context.Context, batch []question) ([]Comparison, []Skipped, error) {
	answers, err := v.aws(ctx, batch)
	if refused, ok := errors.AsType[*types.InvalidRequestException](err); ok || err != nil && gone(err) {
		if len(batch) == 1 {
			why := oneLine(err)
			if ok {
				why = "AWS does not take the question: " + oneLine(errors.New(refused.ErrorMessage()))
			}
			return nil, []Skipped{{batch[0].name, why}}, nil
		}
		// One of them is wrong; the others are still good questions.
		var both []Comparison
		var skipped []Skipped
		for i := range batch {
			c, s, err := v.both(ctx, batch[i:i+1])
			if err != nil {
				return nil, nil, err
			}
			both, skipped = append(both, c...), append(skipped, s...)
		}
		return both, skipped, nil
	}
	if err != nil {
		return nil, nil, explained(ctx, err)
	}
	var both []Comparison
	var skipped []Skipped
	for i, q := range batch {
		if answers[i] == nil {
			skipped = append(skipped, Skipped{q.name, fmt.Sprintf("AWS gave no answer to %s on %s", q.ask.Action, q.ask.Resource)})
			continue
		}
		here, err := q.here(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %s on %s: %w", q.name, q.ask.Action, q.ask.Resource, err)
		}
		c := Comparison{Name: q.name, ClientID: q.clientID, Principal: q.principal, Policies: list(q.policies), Action: q.ask.Action, Resource: q.ask.Resource, Here: here.Outcome, HereBy: []string{}, HereMissing: list(here.Missing), AWS: string(answers[i].AuthDecision), AWSMissing: list(answers[i].MissingContextValues)}
		for _, s := range append(slices.Clone(here.Allowing), here.Denying...) {
			c.HereBy = append(c.HereBy, s.String())
		}
		c.AWSBy = decidedBy(answers[i])
		both = append(both, c)
	}
	return both, skipped, nil
}

// aws asks TestAuthorization and returns the answers in the questions' order.
func (v *verification) aws(ctx context.Context, batch []question) ([]*types.AuthResult, error) {
	first := batch[0]
	in := &iot.TestAuthorizationInput{PolicyNamesToAdd: first.policies}
	if first.clientID != "" {
		in.ClientId = &first.clientID
	}
	if first.principal != "" {
		in.Principal = &first.principal
	}
	for _, name := range first.attached {
		if !slices.Contains(first.policies, name) {
			in.PolicyNamesToSkip = append(in.PolicyNamesToSkip, name)
		}
	}
	for _, q := range batch {
		in.AuthInfos = append(in.AuthInfos, types.AuthInfo{ActionType: kindOf(q), Resources: []string{v.arn(q)}})
	}
	out, err := v.client.TestAuthorization(ctx, in)
	if err != nil {
		return nil, err
	}
	answers := make([]*types.AuthResult, len(batch))
	for k := range out.AuthResults {
		r := &out.AuthResults[k]
		i := k // an answer that does not repeat its question is taken in its order
		if r.AuthInfo != nil && len(r.AuthInfo.Resources) == 1 {
			i = slices.IndexFunc(in.AuthInfos, func(q types.AuthInfo) bool {
				return q.ActionType == r.AuthInfo.ActionType && q.Resources[0] == r.AuthInfo.Resources[0]
			})
		}
		if i >= 0 && i < len(answers) {
			answers[i] = r
		}
	}
	return answers, nil
}

func kindOf(q question) types.ActionType {
	for _, a := range askable {
		if strings.EqualFold(a.action, q.ask.Action) {
			return types.ActionType(a.kind)
		}
	}
	return ""
}

// arn is the whole ARN of a question's resource.
func (v *verification) arn(q question) string {
	if strings.HasPrefix(q.ask.Resource, "arn:") {
		return q.ask.Resource
	}
	return v.prefix + q.ask.Resource
}

// decidedBy names the policies that AWS says it decided by.
func decidedBy(r *types.AuthResult) []string {
	out := []string{}
	add := func(list []types.Policy) {
		for _, p := range list {
			out = append(out, text(p.PolicyName))
		}
	}
	if r.Allowed != nil {
		add(r.Allowed.Policies)
	}
	if r.Denied != nil && r.Denied.ExplicitDeny != nil {
		add(r.Denied.ExplicitDeny.Policies)
	}
	return out
}
