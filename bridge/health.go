package bridge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Health holds the warnings that are raised now. The zero Health is ready.
type Health struct {
	mu     sync.Mutex
	raised map[string]Warning
}

// Raise sets or replaces the warning of w.Code. It reports whether the warning
// is new or its text changed, so that the caller logs it once.
//
// Names and reasons in a text may be a device's or a cloud's words: what a terminal
// would obey, or take for the next line, is written out.
func (h *Health) Raise(w Warning) bool {
	w.Text = harmless(w.Text)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.raised == nil {
		h.raised = map[string]Warning{}
	}
	old, had := h.raised[w.Code]
	h.raised[w.Code] = w
	return !had || old != w
}

// harmless is a text in one line, without characters that do something.
func harmless(text string) string {
	does := func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
	}
	if !strings.ContainsFunc(text, does) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '\n': // our own, between several problems
			out.WriteByte(' ')
		case does(r):
			fmt.Fprintf(&out, "\\u%04x", r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// Clear takes a warning back and reports whether it was raised.
func (h *Health) Clear(code string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, had := h.raised[code]
	delete(h.raised, code)
	return had
}

// Warnings lists what is raised, the worst first, then by code.
func (h *Health) Warnings() []Warning {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]Warning, 0, len(h.raised))
	for _, w := range h.raised {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code))
	})
	return out
}
