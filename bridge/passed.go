package bridge

// Passed meters a message that an upstream sent and that is not stored: it has
// been delivered already, as the answer to a device that waits for it, or is
// dropped. done is called exactly once, and then the cloud may be acknowledged.
func (in *Ingest) Passed(upstream string, m *Message, wire int, done func(error)) {
	var b Batch
	in.meter.Received(&b, upstream, m, wire)
	in.spool.Commit(&b, func(_ Seq, err error) { done(err) })
}
