package policytest

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/ebbgate/ebbgate/policy"
)

// Events prints one JSON object a line, in the manner of "go test -json".
type Events struct{ W io.Writer }

// Event is one line of [Events].
type Event struct {
	Action    string         `json:"action"` // pass, fail, skip; broken, file, coverage, end
	File      string         `json:"file,omitempty"`
	Line      int            `json:"line,omitempty"`
	ID        string         `json:"id,omitempty"`
	Why       string         `json:"why,omitempty"`
	Expect    Want           `json:"expect,omitempty"`
	Got       Want           `json:"got,omitempty"`
	Uncertain bool           `json:"uncertain,omitempty"`
	Switches  []string       `json:"switches,omitempty"` // that would change the outcome of an uncertain case
	Elapsed   *float64       `json:"elapsed,omitempty"`  // seconds
	Output    string         `json:"output,omitempty"`   // for people
	Answer    *policy.Answer `json:"answer,omitempty"`   // of a case that failed
	Passed    *int           `json:"passed,omitempty"`
	Failed    *int           `json:"failed,omitempty"`
	Skipped   *int           `json:"skipped,omitempty"`
	Coverage  *Report        `json:"coverage,omitempty"`
}

// Case prints an event of action pass, fail or skip.
func (e *Events) Case(r Result) error {
	elapsed := r.Elapsed.Seconds()
	event := Event{
		Action: "pass", File: r.Case.File, Line: r.Case.Line, ID: r.Case.ID, Why: r.Case.Why,
		Expect: r.Case.Want, Got: r.Got, Uncertain: r.Case.Confidence == uncertain, Switches: r.Decides, Elapsed: &elapsed,
	}
	switch {
	case r.Skipped:
		event.Action, event.Output = "skip", r.Case.Skip
	case !r.Passed:
		event.Action, event.Output = "fail", r.Detail()
		if r.Answer.Outcome != "" {
			event.Answer = &r.Answer
		}
	}
	return e.Print(event)
}

// Broken prints an event of action broken for each row that is no case.
func (e *Events) Broken(file string, err error) error {
	faults, ok := errors.AsType[policy.Faults](err)
	if !ok {
		return e.Print(Event{Action: "broken", File: file, Output: err.Error()})
	}
	for _, f := range faults {
		if err := e.Print(Event{Action: "broken", File: f.File, Line: f.Line, Output: f.Error()}); err != nil {
			return err
		}
	}
	return nil
}

// File prints an event of action file.
func (e *Events) File(file string, sum Summary) error { return e.Print(sum.event("file", file)) }

// End prints the event of action end, the last one.
func (e *Events) End(total Summary) error { return e.Print(total.event("end", "")) }

func (s Summary) event(action, file string) Event {
	elapsed := s.Elapsed.Seconds()
	event := Event{Action: action, File: file, Elapsed: &elapsed, Passed: &s.Passed, Failed: &s.Failed, Skipped: &s.Skipped}
	if action == "end" {
		event.Output = s.String()
	}
	return event
}

// Print prints any event.
func (e *Events) Print(event Event) error {
	encoder := json.NewEncoder(e.W)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(event)
}
