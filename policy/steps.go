package policy

// A stepKind says what one step of a pattern takes.
type stepKind byte

const (
	one      stepKind = iota // its own character
	anyOne                   // any one code point
	fieldOne                 // one code point, but no colon
	anyRun                   // any characters
	fieldRun                 // any characters but colons
)

// step is one step of a pattern that is run as an automaton: the general form,
// for ARNs whose wildcards may or may not run past colons. What requests are
// matched against is, with rare exceptions, the part of it that is a glob.
type step struct {
	kind stepKind
	char rune
}

func (s step) repeats() bool { return s.kind == anyRun || s.kind == fieldRun }

func (s step) takes(r rune) bool {
	switch s.kind {
	case one:
		return r == s.char
	case fieldOne, fieldRun:
		return r != ':'
	default:
		return true
	}
}

// appendSteps appends resolved tokens, whose wildcards are question and star.
func appendSteps(steps []step, tokens []token, question, star stepKind) []step {
	for _, t := range tokens {
		switch {
		case t.kind != wildcard:
			for _, r := range t.text {
				steps = append(steps, step{one, r})
			}
		case t.text == "?":
			steps = append(steps, step{kind: question})
		default:
			steps = append(steps, step{kind: star})
		}
	}
	return steps
}

// run reads text from the given places in steps and returns the places where
// it can then be. All places are followed at once, so that it takes at most
// len(text) × len(steps).
func run(steps []step, from []int, text string) []int {
	seen := make([]int, len(steps)+1) // the reading at which a place was last added
	for reading, r := range text {
		var to []int
		add := func(at int) {
			if seen[at] != reading+1 {
				seen[at] = reading + 1
				to = append(to, at)
			}
		}
		for _, at := range from {
			for ; at < len(steps); at++ {
				if steps[at].takes(r) {
					if steps[at].repeats() {
						add(at)
					} else {
						add(at + 1)
					}
				}
				if !steps[at].repeats() {
					break
				}
			}
		}
		from = to
	}
	return from
}

// ends reports whether the end of steps can be reached without reading more.
func ends(steps []step, from []int) bool {
	for _, at := range from {
		for at < len(steps) && steps[at].repeats() {
			at++
		}
		if at == len(steps) {
			return true
		}
	}
	return false
}

// tail is what is left of a pattern behind the prefix that all ARNs share.
type tail struct {
	glob   glob
	steps  []step // instead of glob, when a wildcard must not run past a colon
	colons bool   // matches only text with a colon
}

func newTail(steps []step, bytes bool) tail {
	if tokens, ok := asTokens(steps); ok {
		return globTail(tokens, bytes)
	}
	t := tail{steps: steps}
	t.glob.bytes = bytes
	for _, s := range steps {
		t.colons = t.colons || s.kind == one && s.char == ':'
	}
	return t
}

// match reports whether name fits; colon says whether it has one.
func (t *tail) match(name string, colon bool) bool {
	if t.colons && !colon {
		return false
	}
	if t.steps != nil {
		if t.glob.bytes {
			name = widen(name)
		}
		return ends(t.steps, run(t.steps, []int{0}, name))
	}
	return t.glob.match(name)
}
