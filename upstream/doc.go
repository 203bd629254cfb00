// Package upstream is what all cloud senders share: the limits of a connection
// ([Limits], [Bucket]), the waits between attempts ([BackoffOptions],
// [Backoff]), and the way they tell how they are ([Hooks], [Status]).
//
// One [Bucket] paces one connection, messages of both directions together,
// because the cloud counts them together (Q06). What we send waits for it; what
// the cloud sends cannot be refused, so it runs the bucket into debt instead.
//
// The senders themselves are the folders below, one per cloud protocol, all
// held to the suite in upstreamtest.
package upstream
