package archtest

import "slices"

// Exception permits one violation, and says why.
type Exception struct {
	Rule   string
	Path   string // file or folder pattern, as Violation.Path
	Text   string // the violation's Text must contain it; empty: any
	Reason string
}

// exceptions is the table of what this repository allows itself.
func exceptions() []Exception {
	return []Exception{
		{Rule: "layer", Path: "bridge/spool_test.go", Text: "spool", Reason: "the walk is tested on the spool that it runs on"},
		{Rule: "layer", Path: "internal/sandbox/...", Text: "localbroker", Reason: "the stand-in for the cloud is our own broker in the profile of AWS"},
	}
}

// except takes away what an exception permits, and adds a violation for every
// exception that permits nothing or gives no reason.
func (l *Law) except(found []Violation) []Violation {
	used := make([]bool, len(l.Exceptions))
	left := slices.DeleteFunc(found, func(v Violation) bool {
		for i, e := range l.Exceptions {
			if e.permits(v) {
				used[i] = true
				return true
			}
		}
		return false
	})
	for i, e := range l.Exceptions {
		if !used[i] {
			left = append(left, Violation{Rule: "stale-exception", Path: e.Path, Text: "nothing needs the exception to " + e.Rule + " any more: remove it"})
		}
		if e.Reason == "" {
			left = append(left, Violation{Rule: "stale-exception", Path: e.Path, Text: "the exception to " + e.Rule + " gives no reason"})
		}
	}
	return left
}

func (e Exception) permits(v Violation) bool {
	if e.Rule != v.Rule || !contains(v.Text, e.Text) {
		return false
	}
	return covers(e.Path, v.Path)
}
