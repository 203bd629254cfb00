package upload

// Summary is all transfers at a glance.
type Summary struct {
	Open      int     // that take segments, or whose fin is being worked on
	Waiting   int     // whole, and not yet exported
	Refused   int     // those of them that the target does not take for what they are
	Bytes     int64   // of all of them
	Held      string  // why exports are held back, empty when they are not
	OldestAge float64 // seconds since the fin of the file that waits longest
}

// Summary counts what runs.
func (s *Service) Summary() Summary {
	out := Summary{Held: s.held()}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Bytes = s.all.bytes
	for _, t := range s.runningLocked() {
		if t.verified == nil {
			out.Open++
			continue
		}
		out.Waiting++
		if t.refused {
			out.Refused++
		}
		out.OldestAge = max(out.OldestAge, (s.now() - t.verified.Since).Seconds())
	}
	return out
}

// held says why exports are held back now.
func (s *Service) held() string {
	if s.deps.Held == nil {
		return ""
	}
	return s.deps.Held()
}
