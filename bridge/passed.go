package bridge

// Passed meters a message that an upstream sent and that is not stored: it has
// been delivered already, as the answer to a device that waits for it, or is
// dropped. done is called exactly once, and then the cloud may be acknowledged.
func (in *Ingest) Passed(upstream string, m *Message, wire int, done func(error)) {
	var b Batch
	in.meter.Received(&b, upstream, m, wire)
	in.spool.Commit(&b, func(_ Seq, err error) { done(err) })
}

// Asked meters a message that the gateway itself has sent to an upstream, at QoS 0
// and with wire bytes: a question to one of its services. It is not stored, and
// neither is it when it could not be metered: that costs the bill a message.
func (in *Ingest) Asked(upstream string, m *Message, wire int) {
	var b Batch
	s := &Stored{
		Record:   &Record{Message: *m, Origin: Origin{Device: "gateway", Instant: in.clock.Now()}},
		Receiver: &Receiver{Queue: QueueName("up", upstream, "streams"), Topic: m.Topic}, outgoing: m,
	}
	in.meter.Delivered(&b, upstream, s, Outcome{Result: ResultAcked, Wire: wire})
	in.spool.Commit(&b, nil)
}
