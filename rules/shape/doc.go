// Package shape is the steps of a route that save money: what a route does to
// messages between the queue of what was accepted and the queue of what is sent.
//
// [Options] is what people write, and [New] makes a [bridge.Line] of it. The
// steps stand in one order, each of them absent by default:
//
//	deadband → window → batch (compressed) or compression alone → split or divert
//
// A line is fed by one [bridge.Shaper] and is a state machine without a clock, a
// disk or a goroutine of its own: what has been taken and has not come out yet is
// in the queue still, so a kill costs nothing. [Decoder] undoes the steps; it is
// what "ebbgate decode" runs.
//
// Messages of Sparkplug keep their order where the order means something: a birth
// or a death closes what is open and goes alone, so it stays before its data.
package shape
