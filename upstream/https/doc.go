// Package https publishes by AWS IoT Core's HTTP API: one POST a message, logged
// in by a client certificate or by a signature with AWS credentials. It is for
// networks that let nothing else out, and it receives nothing.
//
// [Uplink] is the [bridge.Sender]. Messages of one device go one after the other,
// those of different devices beside each other, up to the window. A status says
// what became of a message (B201); what never got a status ends the link, and is
// sent again on the next.
package https
