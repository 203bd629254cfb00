// Package upstreamtest is the suite that every [bridge.Sender] must pass. It
// knows a sender by its interface alone, and its receiver as a [Peer] that can
// be told to fall silent and to break the connection.
package upstreamtest
