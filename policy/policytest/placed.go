package policytest

import (
	"errors"

	"github.com/ebbgate/ebbgate/policy"
)

// Placed puts the files of documents into faults, which name the policy only.
// Any other error is returned as it is.
func Placed(err error, sources []Source) error {
	faults, ok := errors.AsType[policy.Faults](err)
	if !ok {
		return err
	}
	return atPlaces(faults, sources)
}

func atPlaces(faults policy.Faults, sources []Source) policy.Faults {
	places := Places(sources)
	out := make(policy.Faults, len(faults))
	for i, f := range faults {
		if file, line := places(f.File); file != "" {
			name := f.File
			switch f.File = file; {
			case line == 0:
				f.File += ", " + name
			case f.Line > 0:
				f.Line += line - 1
			}
		}
		out[i] = f
	}
	return out
}
