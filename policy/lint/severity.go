package lint

import (
	"fmt"
	"strings"
)

// Severity says how much a finding matters.
type Severity int

// The severities, from a remark to a hole.
const (
	Low      Severity = iota + 1 // a remark: it works, and could be better
	Medium                       // probably not what was meant
	High                         // something is let through, or never works
	Critical                     // a device can reach what is not its own
)

var severityNames = map[Severity]string{Low: "low", Medium: "medium", High: "high", Critical: "critical"}

// String is the severity's name in lower case.
func (s Severity) String() string { return severityNames[s] }

// MarshalText writes the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseSeverity reads a severity's name or its first letter, in either case.
func ParseSeverity(text string) (Severity, error) {
	for s, name := range severityNames {
		if strings.EqualFold(text, name) || strings.EqualFold(text, name[:1]) {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%q is no severity: write low, medium, high or critical", text)
}
