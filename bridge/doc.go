// Package bridge is Ebbgate's domain: the words, the walk, and the interfaces
// that the walk calls.
//
// Everything that crosses the gateway takes the same eight steps and differs
// only in who gives it and which [Sender] takes it:
//
//	ingest → authorize → route → append (synced) → acknowledge the giver → send → cloud's ack → release and meter
//
// The first five are [Ingest] (ingest.go), the last three are [Forwarder]
// (forward.go); who has read those two files has understood the product.
//
// An upstream has one [Forwarder], which alone reads its queues and releases what
// is acknowledged, and any number of connections to send on, each a goroutine
// (line.go) that only its own rate limit holds up. pool.go says which connection a
// device is on, fill.go who is given what, and hold.go what waits after a refusal.
// What is not taken is judged by seven things: reject.go and makeway.go (refused with an
// answer), denied.go and pause.go (by a policy: one device, or all of a route), suspect.go
// and rest.go (hung up on), shun.go (it is the connection). gate.go says by which connection
// nothing may go now, and expire.go gives up what is too old where nothing is sent.
//
// Promises that the walk keeps, and that every implementation of the
// interfaces here must not break:
//
//   - A giver is acknowledged only after its message is synced ([Spool.Commit]).
//   - A record leaves the spool only after its receiver's acknowledgement, in
//     the transaction that also meters it ([Batch]).
//   - First transmissions to one upstream are in the order of acceptance, per
//     device and priority. A higher priority overtakes; within one it never does,
//     but what is live of a queue that asks for it ([QueueRef].LiveFirst).
//   - Whatever is unknown holds: the zero [Kind] acknowledges nothing.
//
// The package imports the standard library only; mochi, OPA, Badger and paho
// live behind its interfaces.
package bridge
