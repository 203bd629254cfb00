package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// width is how wide lines of text become where words allow it.
const width = 80

// WriteText prints findings for a person, and what they come to.
func WriteText(w io.Writer, r *Report, from Severity) error {
	shown := r.From(from)
	var b strings.Builder
	for _, f := range shown {
		fmt.Fprintf(&b, "%s: %s %s: %s\n", f.Where(), f.Rule, f.Severity, f.Title)
		wrap(&b, "    ", f.Message)
		for _, e := range f.Examples {
			wrap(&b, "      - ", e.String())
		}
		if f.Attached != "" {
			wrap(&b, "    ", "as attached to "+f.Attached)
		}
		wrap(&b, "    fix: ", f.Fix)
		b.WriteByte('\n')
	}
	b.WriteString(summary(r, shown))
	_, err := io.WriteString(w, b.String())
	return err
}

// Where is file:line:column, or the file alone.
func (f *Finding) Where() string {
	where := printable(f.File)
	if f.Line > 0 {
		where += fmt.Sprintf(":%d:%d", f.Line, f.Column)
	}
	return where
}

// summary is the last line.
func summary(r *Report, shown []Finding) string {
	count := map[Severity]int{}
	for _, f := range shown {
		count[f.Severity]++
	}
	var parts []string
	for s := Critical; s >= Low; s-- {
		if count[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[s], s))
		}
	}
	text := plural(r.Documents, "document") + ", " + plural(len(shown), "finding")
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if hidden := len(r.Findings) - len(shown); hidden > 0 {
		text += fmt.Sprintf("; %d less severe not shown", hidden)
	}
	if n := len(r.Suppressed); n > 0 {
		text += fmt.Sprintf("; %d suppressed", n)
	}
	return text + "\n"
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// wrap writes words in lines behind a prefix, whose width later lines keep.
func wrap(b *strings.Builder, prefix, text string) {
	line := prefix
	empty := true
	for _, word := range strings.Fields(printable(text)) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line, empty = strings.Repeat(" ", len(prefix)), true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	b.WriteString(line + "\n")
}

// printable keeps control characters of a document out of terminals.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, text)
}

// WriteJSON prints one object a line for each finding.
func WriteJSON(w io.Writer, r *Report, from Severity) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, f := range r.From(from) {
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	return nil
}
