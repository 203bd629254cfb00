package bridge

import "fmt"

// deny settles a request that the receiver's policy denies: what its device
// would ask again is dropped, what should be kept becomes a dead letter.
func (f *Forwarder) deny(fl *flight, o Outcome) {
	why := "denied with " + o.said()
	if !fl.HasExpiry {
		f.deadLetter(fl, why)
		return
	}
	f.health.Raise(Warning{Code: f.deniedCode(), Severity: Degraded,
		Text: fmt.Sprintf("%s does not allow us to ask at %q (%s, the latest of device %q): let the cloud's policy allow the topic, or ours deny it", f.cfg.Upstream, fl.Receiver.Topic, why, fl.Device)})
	delete(fl.source.tries, fl.Place)
	f.acquit(fl.Seq)
	f.giveUp(fl, RequestDenied, why)
}

func (f *Forwarder) deniedCode() string { return "requests-denied-" + f.cfg.Upstream }
