package explain

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/ebbgate/ebbgate/policy"
)

// Headline is the decision in one line.
func Headline(c Case) string {
	a, what := c.Answer, fmt.Sprintf("%s on %s", c.Question.Action, split(c.Question.Resource).short())
	switch a.Outcome {
	case policy.Allowed:
		return fmt.Sprintf("%s %s: by %s", a.Outcome, what, refs(a.Allowing))
	case policy.ExplicitDeny:
		if len(a.Site) > 0 {
			return fmt.Sprintf("%s %s: by rules of your own: %s", a.Outcome, what, Brief(strings.Join(a.Site, "; ")))
		}
		return fmt.Sprintf("%s %s: by %s", a.Outcome, what, refs(a.Denying))
	}
	switch n := len(a.Statements); {
	case len(c.Documents) == 0:
		return fmt.Sprintf("%s %s: no policy is attached", a.Outcome, what)
	case n == 1:
		return fmt.Sprintf("%s %s: the one statement does not allow it", a.Outcome, what)
	default:
		return fmt.Sprintf("%s %s: none of %d statements allows it", a.Outcome, what, n)
	}
}

func refs(list []policy.StatementRef) string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.String()
	}
	return strings.Join(out, " and ")
}

// Nearest is the Allow that came closest to applying, nil when none is about
// the action or the resource.
func Nearest(c Case) *policy.StatementTrace {
	var best *policy.StatementTrace
	most := 0
	for i := range c.Answer.Statements {
		s := &c.Answer.Statements[i]
		if s.Effect != "Allow" || s.Applies || !s.Action.Holds && !s.Resource.Holds {
			continue
		}
		if n := nearness(s, split(c.Question.Resource)); n > most {
			best, most = s, n
		}
	}
	return best
}

// nearness weighs how much of a statement fits: the action first, then the
// resource or as much as its beginning, then the conditions.
func nearness(s *policy.StatementTrace, asked arn) int {
	n := 0
	if s.Action.Holds {
		n += 10000
	}
	if s.Resource.Holds {
		n += 5000
	} else {
		closest := 0
		for _, e := range s.Resource.Elements {
			is := split(e.Resolved)
			same := 0
			for same < min(len(is.name), len(asked.name)) && is.name[same] == asked.name[same] {
				same++
			}
			if is.kind == asked.kind {
				same += 200
			}
			closest = max(closest, min(same, 2000))
		}
		n += closest
	}
	for _, c := range s.Conditions {
		if c.Holds {
			n++
		}
	}
	return n
}

// Write tells the whole story of a decision.
func Write(w io.Writer, c Case) error {
	p := &printer{w: w, Case: c}
	p.line("%s", Headline(c))
	p.line("  %s", Client(c.Context))
	var told []policy.StatementRef
	switch c.Answer.Outcome {
	case policy.Allowed:
		told = c.Answer.Allowing
	case policy.ExplicitDeny:
		told = c.Answer.Denying
		if len(c.Answer.Site) > 0 {
			told = c.Answer.Allowing
			p.line("  The documents allow it, and %s takes it away:", policy.SitePolicy)
			for _, reason := range c.Answer.Site {
				p.line("    %s", Brief(reason))
			}
		} else if len(c.Answer.Allowing) > 0 {
			p.line("  A Deny wins over every Allow; without it %s would allow this.", refs(c.Answer.Allowing))
		}
	}
	for _, ref := range told {
		p.line("\n%s, %s", ref, p.at(ref))
		p.trace(p.find(ref))
	}
	if near := Nearest(c); len(told) == 0 && near != nil {
		p.line("\nNearest: %s, %s", near.StatementRef, p.at(near.StatementRef))
		p.trace(near)
		p.prose("  ", "It does not apply: "+kept(near)+".")
	} else if len(told) == 0 && len(c.Answer.Statements) > 0 {
		p.prose("  ", "No Allow is about "+c.Question.Action+", nor about "+split(c.Question.Resource).short()+".")
	}
	for i, hint := range append(Hints(c), c.Notes...) {
		if i == 0 {
			p.line("")
		}
		p.prose("Hint: ", hint)
	}
	p.values()
	return p.err
}

// Client is who asks, in words.
func Client(c policy.Context) string {
	out := fmt.Sprintf("by client %q", Brief(c.ClientID))
	if c.Protocol == "http" {
		out = "over HTTP"
	}
	switch {
	case c.ThingName == "":
		out += ", no thing"
	case c.ThingAttached:
		out += fmt.Sprintf(", thing %s", c.ThingName)
	default:
		out += fmt.Sprintf(", thing %s (not attached)", c.ThingName)
	}
	if c.User != "" && (c.Certificate == nil || c.User != c.Certificate.ID) {
		out += fmt.Sprintf(", user %q", Brief(c.User))
	}
	if c.Listener != "" {
		out += fmt.Sprintf(", listener %q", Brief(c.Listener))
	}
	if c.Certificate != nil && c.Certificate.ID != "" {
		out += fmt.Sprintf(", certificate %.12s…", c.Certificate.ID)
	}
	if c.SourceIP != "" {
		out += ", from " + c.SourceIP
	}
	return out
}

// kept says what kept a statement out, in short where the elements are listed
// above.
func kept(s *policy.StatementTrace) string {
	switch {
	case !s.Action.Holds && s.Action.Negated:
		return "its NotAction leaves this action out"
	case !s.Action.Holds:
		return "it is about other actions"
	case !s.Resource.Holds && s.Resource.Negated:
		return "its NotResource leaves this resource out"
	case !s.Resource.Holds:
		return "no resource of it fits"
	default:
		return s.WhyNot
	}
}

type printer struct {
	Case
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if _, err := io.WriteString(p.w, strings.Map(printable, fmt.Sprintf(format, args...))+"\n"); p.err == nil {
		p.err = err
	}
}

// printable keeps control characters of documents and topics out of terminals,
// and what turns the order of text around.
func printable(r rune) rune {
	if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)) {
		return '\uFFFD'
	}
	return r
}

// Brief keeps what somebody else wrote from filling a screen: a topic may have
// thousands of characters.
func Brief(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:most], ""), len(text))
}

// at is where a statement is to be read, in words.
func (p *printer) at(ref policy.StatementRef) string {
	file, line := p.At(ref)
	switch {
	case file == "":
		return fmt.Sprintf("line %d", line)
	case p.whole(ref.Policy):
		return fmt.Sprintf("%s:%d", file, line)
	default:
		return fmt.Sprintf("%s, line %d of the document", file, line)
	}
}

// whole reports whether the lines of a policy are those of its file.
func (c Case) whole(name string) bool {
	_, line := c.Place(name)
	return line > 0
}

// At is where a statement is read: the file, if it is known, and the line in
// it, or in the document where the file's lines are others.
func (c Case) At(ref policy.StatementRef) (file string, line int) {
	if s := c.find(ref); s != nil {
		line = s.Line
	}
	if c.Place == nil {
		return "", line
	}
	file, first := c.Place(ref.Policy)
	if first > 0 {
		line += first - 1
	}
	return file, line
}

func (c Case) find(ref policy.StatementRef) *policy.StatementTrace {
	i := slices.IndexFunc(c.Answer.Statements, func(s policy.StatementTrace) bool { return s.StatementRef == ref })
	if i < 0 {
		return nil
	}
	return &c.Answer.Statements[i]
}

// trace shows what fits of a statement and what does not.
func (p *printer) trace(s *policy.StatementTrace) {
	if s == nil {
		return
	}
	p.list("action", s.Action)
	p.list("resource", s.Resource)
	for _, c := range s.Conditions {
		have := "the key has no value here"
		if len(c.Have) > 0 {
			have = "the value is " + strings.Join(quote(c.Have), ", ")
		}
		p.line("  %-10s %s  %s %s %s", "condition", mark(c.Holds), c.Operator, c.Key, strings.Join(quote(c.Want), ", "))
		p.line("  %-10s       %s", "", have)
	}
}

// most is how many elements of a list are shown where none fits.
const most = 5

func (p *printer) list(what string, l policy.ListTrace) {
	if l.Negated {
		what = "not" + what
	}
	shown := 0
	for _, e := range l.Elements {
		if l.Matched() != nil && !e.Matches {
			continue
		}
		if shown++; shown > most {
			p.line("  %-10s       … and %d more", "", len(l.Elements)-most)
			return
		}
		p.line("  %-10s %s  %s", what, mark(e.Matches), e.Text)
		switch {
		case len(e.Missing) > 0:
			p.line("  %-10s       ${%s} has no value here", "", strings.Join(e.Missing, "}, ${"))
		case e.Resolved != e.Text:
			p.line("  %-10s       here %s", "", split(e.Resolved).short())
		}
	}
}

func mark(fits bool) string {
	if fits {
		return "yes"
	}
	return "no "
}

func quote(list []string) []string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = fmt.Sprintf("%q", Brief(text))
	}
	return out
}

// values lists what the variables stand for.
func (p *printer) values() {
	if len(p.Answer.Variables) > 0 {
		p.line("\nVariables")
		for _, name := range slices.SortedFunc(maps.Keys(p.Answer.Variables), func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) }) {
			p.line("  %s = %q", name, Brief(p.Answer.Variables[name]))
		}
	}
	if len(p.Answer.Missing) > 0 {
		p.line("\nWithout a value: %s", strings.Join(p.Answer.Missing, ", "))
	}
}

// prose wraps a paragraph at 80 columns, indented under its label.
func (p *printer) prose(label, text string) {
	const width = 80
	indent := strings.Repeat(" ", len(label))
	line := label
	for i, word := range strings.Fields(text) {
		if i > 0 && len([]rune(line))+len([]rune(word)) >= width {
			p.line("%s", strings.TrimRight(line, " "))
			line = indent
		}
		line += word + " "
	}
	p.line("%s", strings.TrimRight(line, " "))
}
