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
	in.meter.Delivered(&b, upstream, in.own(upstream, "streams", m), Outcome{Result: ResultAcked, Wire: wire})
	in.spool.Commit(&b, nil)
}

// Sent meters what became of a message that the gateway itself has sent to an
// upstream at QoS 1 for one of its services, which stands in the bill as a route.
// What was not even written costs nothing.
func (in *Ingest) Sent(upstream, service string, m *Message, o Outcome) {
	if o.Wire == 0 {
		return
	}
	var b Batch
	s := in.own(upstream, service, m)
	refusals, tells := in.meter.(RefusalMeter)
	switch {
	case o.Result == ResultAcked:
		in.meter.Delivered(&b, upstream, s, o)
	case o.Result == ResultLost:
		in.meter.Uncertain(&b, upstream, s, o)
	case tells:
		refusals.Refused(&b, upstream, s, o)
	}
	in.spool.Commit(&b, nil)
}

// own is a message of the gateway itself, as meters want it.
func (in *Ingest) own(upstream, service string, m *Message) *Stored {
	return &Stored{
		Record:   &Record{Message: *m, Origin: Origin{Device: "gateway", Instant: in.clock.Now()}},
		Receiver: &Receiver{Queue: QueueName("up", upstream, service), Topic: m.Topic}, outgoing: m,
	}
}
