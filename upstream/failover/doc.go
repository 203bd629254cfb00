// Package failover sends to one receiver as long as it can be reached, else to
// another, and goes back.
//
// [Sender] is a [bridge.Sender] around two. While the second takes the messages,
// the first is connected to in the background; when that link has lived for a
// while, the second's is drained and the first's is used: nothing is sent twice
// for it.
package failover
