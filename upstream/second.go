package upstream

import "time"

// second is what went and came within the last second, in steps of grain, each of
// which counts until its latest is a second old.
type second struct {
	steps     []step // the oldest first
	out, in   int    // messages of all
	sizeOfAll int    // bytes

	clump   int       // the most messages that came in at once, of late
	clumped time.Time // when they did
}

type step struct {
	begun, at time.Time // of its first, and of its latest
	out, in   int       // messages that went, and came
	outSize   int       // bytes
	inSize    int
}

// What comes in within clumpIn is a clump; it is remembered for clumpFor.
const (
	grain    = time.Millisecond
	clumpIn  = 100 * time.Millisecond
	clumpFor = 10 * time.Second
)

// messages is how many went or came.
func (s *second) messages() int { return s.out + s.in }

// forget forgets what is a second old.
func (s *second) forget(now time.Time) {
	n := 0
	for ; n < len(s.steps) && now.Sub(s.steps[n].at) >= time.Second; n++ {
		x := &s.steps[n]
		s.out, s.in, s.sizeOfAll = s.out-x.out, s.in-x.in, s.sizeOfAll-x.outSize-x.inSize
	}
	if n > 0 {
		s.steps = append(s.steps[:0], s.steps[n:]...)
	}
	if s.clump > 0 && now.Sub(s.clumped) >= clumpFor {
		s.clump = 0
	}
}

// last is the step of now.
func (s *second) last(now time.Time) *step {
	n := len(s.steps)
	if n == 0 || now.Sub(s.steps[n-1].begun) >= grain {
		s.steps = append(s.steps, step{begun: now})
		n++
	}
	x := &s.steps[n-1]
	x.at = now
	return x
}

// went counts what goes now.
func (s *second) went(now time.Time, messages, size int) {
	x := s.last(now)
	x.out, x.outSize = x.out+messages, x.outSize+size
	s.out, s.sizeOfAll = s.out+messages, s.sizeOfAll+size
}

// came counts a message that comes in now, and sees how many do at once.
func (s *second) came(now time.Time, size int) {
	x := s.last(now)
	x.in, x.inSize = x.in+1, x.inSize+size
	s.in, s.sizeOfAll = s.in+1, s.sizeOfAll+size
	n := 0
	for i := len(s.steps) - 1; i >= 0 && now.Sub(s.steps[i].at) < clumpIn; i-- {
		n += s.steps[i].in
	}
	if n >= s.clump {
		s.clump, s.clumped = n, now
	}
}

// written makes the latest of what went something that goes now.
func (s *second) written(now time.Time, messages, size int) {
	m, b := messages, size
	for i := len(s.steps) - 1; i >= 0 && (m > 0 || b > 0); i-- {
		x := &s.steps[i]
		dm, db := min(x.out, m), min(x.outSize, b)
		x.out, x.outSize = x.out-dm, x.outSize-db
		s.out, s.sizeOfAll = s.out-dm, s.sizeOfAll-db
		m, b = m-dm, b-db
	}
	s.went(now, messages, size)
}

// until is how long it takes until another message of size bytes makes no more of a
// second than most messages and mostBytes; 0 is no limit. One that is larger than
// that goes alone.
func (s *second) until(now time.Time, size, most, mostBytes int) time.Duration {
	d := time.Duration(0)
	messages, bytes := s.messages(), s.sizeOfAll
	for i := range s.steps {
		if (most == 0 || messages < most) && (mostBytes == 0 || bytes == 0 || bytes+size <= mostBytes) {
			break
		}
		x := &s.steps[i]
		messages, bytes = messages-x.out-x.in, bytes-x.outSize-x.inSize
		d = x.at.Add(time.Second).Sub(now)
	}
	return d
}
