package bridge

// Beside what was given up the drop log keeps what an operator has moved from one
// queue to another: who asks later what became of a message must know by which queue
// it went on. It is one log, so that both stand in the order in which they were done.
// It is in no sum and no counter, since nothing is lost by it.

// movedTo is the reason of such an entry; its detail is the queue that the message was
// moved to, never cut.
const movedTo = "moved"

// NoteMove records in b, which moves s to another queue, that this was done: it is in
// the log when b is committed, and only then. The id is that of the message which s
// is, or will be in.
func (l *DropLog) NoteMove(b *Batch, s *Stored, id MessageID, to string) {
	if l.book == nil {
		return
	}
	now := l.book.now()
	l.book.append(b, &DropEntry{
		ID: id, Reason: movedTo, Queue: s.Receiver.Queue, Detail: to, Size: s.Size(),
		Accepted: s.Wall, Dropped: now.Wall, Synced: now.Synced,
	})
}

// MovedTo is the queue that a message was moved to, empty when the entry is of one
// that was given up.
func (e *DropEntry) MovedTo() string {
	if e.Reason == movedTo {
		return e.Detail
	}
	return ""
}

// History is Entries with what was moved among them.
func (l *DropLog) History(fn func(*DropEntry) bool) error {
	if l.book == nil {
		return nil
	}
	return scanBlocks(l.book.spool, nsDrops, func(block []byte) (bool, error) { return eachInBlock(block, fn) })
}
