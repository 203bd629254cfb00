package policytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ebbgate/ebbgate/policy"
)

// withSwitches sets a case's switches beside those of the whole run.
func withSwitches(opts policy.Options, switches map[string]string) (policy.Options, error) {
	for _, name := range slices.Sorted(maps.Keys(switches)) {
		if err := opts.Switches.Set(name, switches[name]); err != nil {
			return opts, err
		}
	}
	return opts, nil
}

// Deciding names the switches that would change the outcome of a case, each
// as "name=value makes it outcome". None means that no reading of AWS's
// documentation which there is a switch for makes a difference.
func (r *Runner) Deciding(ctx context.Context, result Result) ([]string, error) {
	now, err := r.options(result.Case)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range policy.AllSwitches() {
		for _, value := range s.Values {
			changed := now
			if err := changed.Set(s.Name, value); err != nil {
				return out, err
			}
			if changed == now {
				continue
			}
			c := *result.Case
			c.Switches = maps.Clone(c.Switches)
			if c.Switches == nil {
				c.Switches = map[string]string{}
			}
			c.Switches[s.Name] = value
			other, err := r.outcome(ctx, &c)
			if err != nil {
				return out, err
			}
			if other != result.Got {
				out = append(out, fmt.Sprintf("%s=%s makes it %s", s.Name, value, other))
			}
		}
	}
	return out, nil
}

// outcome is what the rules alone say.
func (r *Runner) outcome(ctx context.Context, c *Case) (Want, error) {
	d, err := r.desk(c)
	if err != nil {
		return "", err
	}
	for _, q := range c.Questions {
		outcome, err := d.Outcome(ctx, plain(c.Documents), c.Context, q)
		if _, ok := errors.AsType[policy.Faults](err); ok {
			return Invalid, nil
		}
		if err != nil {
			return "", err
		}
		if got := wantOf(outcome); got != Allow {
			return got, nil
		}
	}
	return Allow, nil
}

func plain(sources []Source) []policy.Document {
	out := make([]policy.Document, len(sources))
	for i := range sources {
		out[i] = sources[i].Document
	}
	return out
}
