// Package mqtt sends to and receives from one broker of MQTT 5 or 3.1.1: AWS IoT
// Core, EMQX, mosquitto, any other; over TCP, TLS or a WebSocket.
//
// [Uplink] is the [bridge.Sender]. Each of its links is a new session; the
// spool is the memory. Messages go in the order of [bridge.Link.Send], up to
// the window in flight, and each PUBACK's reason code comes back as an outcome.
// A v5 client must not send again on a live connection, so an acknowledgement
// that does not come ends the link, and so does a broker that says nothing.
// [Downlink] is the other direction, in a persistent session on a connection of
// its own, acknowledged by hand; which filters that session has at the broker is kept in
// a [Memory], and what is not wanted any more is unsubscribed from. Both never give
// up: a login that is refused is a warning with its remedy, and tried again.
//
// A connection (conn.go) is two goroutines, whatever the load: a reader, and a
// watch (watch.go) that sees silence and buries the dead. Whoever has something
// to write writes it himself, many messages at once, without ever blocking, and
// a reader that awaits many acknowledgements is woken for a quarter of a window
// (socket.go). Before that, two thirds of an uplink's processor time at full
// speed were goroutines and threads that woke each other: 11.3 µs a message,
// spool and metering included, became 6.0. Closing never needs the network.
//
// # Why the library's packets, and not its client
//
// The packets are those of paho.golang; the loop around them is ours. Measured
// on 2 cores against mosquitto 2.0.11 on loopback (256 bytes, origin as user
// properties, 100 in flight, 5 interleaved runs, medians), paho's client with
// AsyncSend and a session store of ours sent 65 k/s for 12 µs of processor time
// and 4.4 KB of garbage a message, with a buffered connection below it 84 k/s,
// 8.6 µs and 4.4 KB; this loop 87 k/s (mosquitto's limit here), 6.2 µs and
// 1.5 KB. So speed alone would not have decided it. What did:
//
//   - Its reader reserves whatever length a packet claims: seven bytes from the
//     other side made it take and clear 4 GB. Guarding that needs a reader of
//     packets below it, which is most of this loop.
//   - A DISCONNECT in its short form is read as an end of file, and the
//     error goroutines that it starts outlive the client's Done.
//   - Manual acknowledgements leave on a 50 ms tick.
package mqtt
