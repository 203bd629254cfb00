package policytest

import (
	"context"
	"errors"

	"github.com/ebbgate/ebbgate/policy"
)

// Files runs the cases of files and reports them. Rows that are no cases count
// as failed, and as broken; so does a file that cannot be read. The error is
// that of ctx or of a reporter.
func (r *Runner) Files(ctx context.Context, paths []string, coverage *Coverage, reporters ...Reporter) (total Summary, broken int, err error) {
	each := func(tell func(Reporter) error) error {
		for _, reporter := range reporters {
			if err := tell(reporter); err != nil {
				return err
			}
		}
		return nil
	}
	for _, path := range paths {
		cases, wrong := ReadFile(path)
		rows := brokenRows(wrong)
		if wrong != nil {
			if err := each(func(p Reporter) error { return p.Broken(path, wrong) }); err != nil {
				return total, broken, err
			}
		}
		sum, err := r.Test(ctx, cases, func(result Result) error {
			if coverage != nil {
				coverage.Add(result)
			}
			return each(func(p Reporter) error { return p.Case(result) })
		})
		sum.Failed += rows
		broken += rows
		total.Add(sum)
		if err != nil {
			return total, broken, err
		}
		if err := each(func(p Reporter) error { return p.File(path, sum) }); err != nil {
			return total, broken, err
		}
	}
	return total, broken, nil
}

// brokenRows counts the places that faults are about.
func brokenRows(err error) int {
	if err == nil {
		return 0
	}
	faults, ok := errors.AsType[policy.Faults](err)
	if !ok {
		return 1
	}
	type place struct {
		file string
		line int
	}
	places := map[place]bool{}
	for _, f := range faults {
		places[place{f.File, f.Line}] = true
	}
	return len(places)
}
