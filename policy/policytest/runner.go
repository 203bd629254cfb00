package policytest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/policy"
)

// Runner runs cases. The zero value runs all of them with the switches'
// defaults.
type Runner struct {
	Options policy.Options   // switches, and the gateway of short resources
	Run     *regexp.Regexp   // which ids to run; nil runs all
	Own     *policy.OwnRules // the operator's own Rego, for cases whose documents have none beside them
	OwnOnly bool             // it is for all cases
	Workers int              // cases at a time; 0 is one a processor
	Explain bool             // explain every answer, not only those of cases that fail; coverage needs it
	Name    bool             // name the switches that decide uncertain cases, not only of those that fail

	mu    sync.Mutex
	desks map[deskKey]*desk
	first func() (*policy.Desk, error) // whose rules all desks share
	open  func(deskKey) (asker, error) // nil makes a policy.Plain
}

// deskKey is what makes desks different.
type deskKey struct {
	policy.Options
	own *policy.OwnRules
}

// desk is made once for each set of switches, gateway and own rules.
type desk struct {
	once sync.Once
	asker
	err error
}

// asker answers at both speeds. It is a [policy.Plain] but in tests.
type asker interface {
	Outcome(context.Context, []policy.Document, policy.Context, policy.Question) (string, error)
	Ask(context.Context, []policy.Document, policy.Context, policy.Question) (policy.Answer, error)
	Compiled(context.Context, []policy.Document, policy.Context, policy.Question) (bridge.Decision, error)
}

// Result is what came of one case.
type Result struct {
	Case    *Case
	Got     Want
	Passed  bool
	Skipped bool
	Error   string          // what went wrong with the case itself
	Faults  policy.Faults   // of the documents, when they are invalid
	Asked   policy.Question // the question that decided
	Answer  policy.Answer   // the answer to it
	Answers []policy.Answer
	Decides []string // switches that would change the outcome, for uncertain cases
	Elapsed time.Duration
}

// Summary counts results.
type Summary struct {
	Passed, Failed, Skipped int
	Uncertain               int // cases run on which AWS is not known for certain
	Elapsed                 time.Duration
}

// Add counts the results of another file.
func (s *Summary) Add(o Summary) {
	s.Passed += o.Passed
	s.Failed += o.Failed
	s.Skipped += o.Skipped
	s.Uncertain += o.Uncertain
	s.Elapsed += o.Elapsed
}

// Test runs the cases, several at a time, and hands each result to report in
// the order of the cases. Its error is that of ctx or of report.
func (r *Runner) Test(ctx context.Context, cases []*Case, report func(Result) error) (Summary, error) {
	if r.Run != nil {
		cases = slices.DeleteFunc(slices.Clone(cases), func(c *Case) bool { return !r.Run.MatchString(c.ID) })
	}
	start := time.Now()
	workers := r.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	results := make([]chan Result, len(cases))
	for i := range results {
		results[i] = make(chan Result, 1)
	}
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(workers + 1)
	var sum Summary
	group.Go(func() error {
		for i := range results {
			select {
			case result := <-results[i]:
				sum.count(result)
				if err := report(result); err != nil {
					return err
				}
			case <-running.Done():
				return running.Err()
			}
		}
		return nil
	})
	for i, c := range cases {
		if running.Err() != nil {
			break
		}
		group.Go(func() error {
			results[i] <- r.one(running, c)
			return nil
		})
	}
	err := group.Wait()
	sum.Elapsed = time.Since(start)
	return sum, err
}

func (s *Summary) count(r Result) {
	switch {
	case r.Skipped:
		s.Skipped++
		return
	case r.Passed:
		s.Passed++
	default:
		s.Failed++
	}
	if r.Case.Confidence == "uncertain" {
		s.Uncertain++
	}
}

// one runs a case.
func (r *Runner) one(ctx context.Context, c *Case) Result {
	result := Result{Case: c}
	if c.Skip != "" {
		result.Skipped = true
		return result
	}
	start := time.Now()
	if err := r.ask(ctx, &result); err != nil {
		result.Error = err.Error()
	}
	result.Elapsed = time.Since(start)
	result.Passed = result.Error == "" && c.Want.met(result.Got)
	if c.Confidence == uncertain && result.Error == "" && (r.Name || !result.Passed) {
		var err error
		if result.Decides, err = r.Deciding(ctx, result); err != nil {
			result.Error, result.Passed = err.Error(), false
		}
	}
	return result
}

// ask asks all questions of a case until one is denied. An error is what no
// expectation is met by.
func (r *Runner) ask(ctx context.Context, result *Result) error {
	c := result.Case
	d, err := r.desk(c)
	if err != nil {
		return err
	}
	documents := plain(c.Documents)
	for _, q := range c.Questions {
		outcome, err := d.Outcome(ctx, documents, c.Context, q)
		if faults, ok := errors.AsType[policy.Faults](err); ok {
			result.Got, result.Faults = Invalid, atPlaces(faults, c.Documents)
			return nil
		}
		if err != nil {
			return err
		}
		result.Asked, result.Got = q, wantOf(outcome)
		if err := compare(ctx, d, documents, result); err != nil {
			return err
		}
		if r.Explain {
			if err := explained(ctx, d, documents, result); err != nil {
				return err
			}
		}
		if result.Got != Allow {
			break
		}
	}
	if !r.Explain && !c.Want.met(result.Got) && len(c.Questions) > 0 {
		return explained(ctx, d, documents, result)
	}
	return nil
}

// compare asks the compiled matchers the same.
func compare(ctx context.Context, d asker, documents []policy.Document, result *Result) error {
	fast, err := d.Compiled(ctx, documents, result.Case.Context, result.Asked)
	if err != nil {
		return fmt.Errorf("the compiled matchers fail where the rules answer %s: %w", result.Got, err)
	}
	quick := ImplicitDeny
	switch {
	case fast.Allowed:
		quick = Allow
	case fast.Explicit:
		quick = ExplicitDeny
	}
	if quick != result.Got {
		return fmt.Errorf("the rules in Rego say %s, the compiled matchers say %s (%s): a fault of this program, please report it with the case", result.Got, quick, fast.Reason)
	}
	return nil
}

// explained asks for the reasons too.
func explained(ctx context.Context, d asker, documents []policy.Document, result *Result) error {
	answer, err := d.Ask(ctx, documents, result.Case.Context, result.Asked)
	if err != nil {
		return err
	}
	if got := wantOf(answer.Outcome); got != result.Got {
		return fmt.Errorf("the rules in Rego say %s, and %s when they explain: a fault of this program, please report it with the case", result.Got, got)
	}
	result.Answer = answer
	result.Answers = append(result.Answers, answer)
	return nil
}

func wantOf(outcome string) Want {
	switch outcome {
	case policy.Allowed:
		return Allow
	case policy.ExplicitDeny:
		return ExplicitDeny
	default:
		return ImplicitDeny
	}
}

// options are those in force for a case.
func (r *Runner) options(c *Case) (policy.Options, error) {
	opts := r.Options
	if c.Gateway != (Gateway{}) {
		opts.Partition, opts.Region, opts.Account = c.Gateway.Partition, c.Gateway.Region, c.Gateway.Account
	}
	return withSwitches(opts, c.Switches)
}

// desk finds or makes the desk for a case's gateway, switches and own rules.
func (r *Runner) desk(c *Case) (asker, error) {
	opts, err := r.options(c)
	if err != nil {
		return nil, err
	}
	key := deskKey{opts, c.Own}
	if c.Own == nil || r.OwnOnly {
		key.own = r.Own
	}
	r.mu.Lock()
	if r.desks == nil {
		r.desks = map[deskKey]*desk{}
	}
	if r.first == nil {
		r.first = sync.OnceValues(func() (*policy.Desk, error) { return policy.NewDesk(policy.Options{}) })
	}
	d := r.desks[key]
	if d == nil {
		d = &desk{}
		r.desks[key] = d
	}
	r.mu.Unlock()
	d.once.Do(func() { d.asker, d.err = r.make(key) })
	return d.asker, d.err
}

func (r *Runner) make(key deskKey) (asker, error) {
	if r.open != nil {
		return r.open(key)
	}
	first, err := r.first()
	if err != nil {
		return nil, err
	}
	d, err := first.With(key.Options)
	if err != nil {
		return nil, err
	}
	return d.Under(key.own).Plain(context.Background())
}
