package bridge

// Gate says when a link may carry messages of a priority: a metered one has
// windows and a budget of bytes. It is safe for concurrent use.
type Gate interface {
	// Open reports whether messages of a priority may be sent now. It is asked
	// again and again, some twenty times a second at the least.
	Open(priority int) bool

	// Account adds to a batch, which is about to be committed, what the link has
	// carried since it was last asked. It may add to an empty one.
	Account(b *Batch)
}

// closed reports whether nothing of a lane may be sent now.
func (f *Forwarder) closed(l *lane) bool { return f.cfg.Gate != nil && !f.cfg.Gate.Open(l.priority) }
