// Package failover sends to one receiver as long as it can be reached, else to
// another, and goes back.
//
// [Sender] is a [bridge.Sender] around a chain of them. While a later one takes the
// messages, those before it are connected to in the background; when such a link
// has lived for a while, the present one is drained and the better is used: nothing
// is sent twice for it. What was in flight when a link broke has an unknown fate:
// it is sent again, perhaps to the next receiver. A member that is closed, as a metered
// link may be, is as if it were not reached.
package failover
