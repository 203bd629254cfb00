package lint

import (
	"cmp"
	"slices"
)

// Finding is one place where a rule applies.
type Finding struct {
	Rule      string    `json:"id"`
	Severity  Severity  `json:"severity"`
	File      string    `json:"file"`
	Line      int       `json:"line"`   // from 1, in the document
	Column    int       `json:"column"` // from 1, in characters
	EndLine   int       `json:"end_line"`
	EndColumn int       `json:"end_column"`
	Policy    string    `json:"policy"`
	Statement *int      `json:"statement,omitempty"` // from 0
	Sid       string    `json:"sid,omitempty"`
	Title     string    `json:"title"`
	Message   string    `json:"message"` // what is wrong, in a sentence
	Examples  []Example `json:"examples,omitempty"`
	Fix       string    `json:"fix"`
	Attached  string    `json:"attached,omitempty"` // to whom, where the registry made it a finding

	// Place in the file, where that is the answer of "aws iot get-policy" and
	// the document a string in it.
	FileLine   int `json:"file_line,omitempty"`
	FileColumn int `json:"file_column,omitempty"`

	Suppressed string `json:"suppressed,omitempty"` // the reason, when somebody accepted it
	offset     int
}

// Example is a request and what becomes of it by the documents, tried on them.
type Example struct {
	Action   string `json:"action"`
	Resource string `json:"resource"` // without partition, region and account
	Allowed  bool   `json:"allowed"`
	By       string `json:"by,omitempty"` // the statement that decides, where one does
}

var verbs = map[string]string{
	connect: "connect as", publish: "publish to", retainPublish: "publish retained to", subscribe: "subscribe to", receive: "receive from",
}

// String is one line for a person.
func (e Example) String() string {
	verb, name := e.Action, e.Resource
	if v, ok := verbs[e.Action]; ok {
		verb = v
		for _, kind := range kinds {
			if len(name) > len(kind) && name[:len(kind)+1] == kind+"/" {
				name = name[len(kind)+1:]
				break
			}
		}
	}
	text := verb + " " + name + ": "
	switch {
	case e.Allowed && e.By != "":
		return text + "allowed, by " + e.By
	case e.Allowed:
		return text + "allowed"
	case e.By != "":
		return text + "refused, by " + e.By
	}
	return text + "refused"
}

func sortFindings(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule))
	})
}
