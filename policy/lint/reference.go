package lint

import (
	"fmt"
	"strings"
)

// Reference is docs/lint.md: how to use the linter and a table of all rules.
// A test keeps the file equal to it.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, r := range Rules() {
		fmt.Fprintf(&b, "| <a id=\"%s\"></a>%s | %s | %s: %s | %s | %s | %s |\n", strings.ToLower(r.ID), r.ID, r.Severity, r.Title, cell(r.Why), code(r.Wrong), code(r.Right), cell(r.Fix))
	}
	b.WriteString(referenceTail)
	return b.String()
}

// cell keeps a text from being read as Markdown.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "*", "\\*", "<", "&lt;", "$", "&#36;", "_", "\\_").Replace(text)
}

func code(text string) string {
	if text == "" {
		return "–"
	}
	return "`" + strings.ReplaceAll(text, "|", "\\|") + "`"
}
