package upload

// turns are the steps that wait: those of a client in the order in which they came,
// and the clients in turn. Who asks for much waits for itself; what another asks for
// is in the next group.
type turns struct {
	of    map[string]*turn
	order []*turn // those that have steps; the first is next
}

// turn is what waits of one client.
type turn struct {
	client string
	steps  []step
}

const (
	// turnBytes is how much of a group a client has before it is another's turn, and
	// leastStep what a step counts at least: one that brings little takes its share of
	// the shelf's work too.
	turnBytes = 256 << 10
	leastStep = 1 << 10
)

// add has a step wait.
func (q *turns) add(s step) {
	l := q.of[s.client]
	if l == nil {
		if q.of == nil {
			q.of = map[string]*turn{}
		}
		l = &turn{client: s.client}
		q.of[s.client] = l
		q.order = append(q.order, l)
	}
	l.steps = append(l.steps, s)
}

// take is the next group: at most so many bytes of files, and a little more.
func (q *turns) take(most int64) (group []step) {
	bytes, puts := int64(0), 0
	for len(q.order) > 0 && len(group) < groupSteps && bytes < most {
		l, full := q.order[0], false
		for had := int64(0); len(l.steps) > 0 && had < turnBytes && len(group) < groupSteps && bytes < most; {
			s, data := l.steps[0], int64(0)
			shelved := s.shelved()
			if full = puts+shelved > groupPuts && len(group) > 0; full {
				break
			}
			if s.data != nil {
				data = int64(len(s.data.b))
			}
			puts, bytes, had = puts+shelved, bytes+data, had+max(int64(shelved)+data, leastStep)
			group = append(group, s)
			l.steps[0] = step{} // its memory is another's then
			l.steps = l.steps[1:]
		}
		q.order = q.order[1:]
		if len(l.steps) > 0 {
			q.order = append(q.order, l)
		} else {
			delete(q.of, l.client)
		}
		if full {
			break
		}
	}
	return group
}
