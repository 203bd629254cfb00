package bridge

// Fate is why a queue has let go of a record. It is written in the log, so a
// number is never given another meaning.
type Fate byte

// The fates.
const (
	Delivered Fate = iota // its receiver acknowledged it
	Dropped               // given up: the drop log says why
	Consumed              // a route's transform made it a part of something else
	Moved                 // now in another queue: a dead letter, or by the operator
	Fates                 // how many there are
)

// String is the fate's name.
func (f Fate) String() string {
	return [...]string{"delivered", "dropped", "consumed", "moved", "unknown"}[min(f, Fates)]
}

// Ledger is what became of everything that one queue was ever given. At every
// moment, also after a crash,
//
//	Accepted = Held + Delivered + Dropped + Consumed + Moved + Lost
//
// because a place is given out with its record, and a fate is counted in the
// transaction that releases it. A message with several receivers is in a queue
// of each, and counts in each.
type Ledger struct {
	Accepted  int64 `json:"accepted"` // places given out: what was moved here counts as well
	Held      int64 `json:"held"`
	Delivered int64 `json:"delivered"`
	Dropped   int64 `json:"dropped"`
	Consumed  int64 `json:"consumed"`
	Moved     int64 `json:"moved"`
	Lost      int64 `json:"lost"` // what damage took, the record or the news of its fate
}

// Plus is the sum of two ledgers.
func (l Ledger) Plus(o Ledger) Ledger {
	return Ledger{
		Accepted: l.Accepted + o.Accepted, Held: l.Held + o.Held, Delivered: l.Delivered + o.Delivered,
		Dropped: l.Dropped + o.Dropped, Consumed: l.Consumed + o.Consumed, Moved: l.Moved + o.Moved, Lost: l.Lost + o.Lost,
	}
}

// Whole is the ledger without what has only changed its queue: a message that
// became a dead letter, and was sent again, was accepted once.
func (l Ledger) Whole() Ledger {
	l.Accepted, l.Moved = l.Accepted-l.Moved, 0
	return l
}
