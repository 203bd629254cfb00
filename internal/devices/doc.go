// Package devices simulates a fleet: many MQTT 5 clients that really connect,
// publish at QoS 1, lose their connection and come back.
//
// Each device numbers its messages and keeps what is not acknowledged; after a
// reconnect it sends that again, in order, before anything new, as a device
// that cares for its data does. What was acknowledged is a [tally.Set]: the
// giver's side of every claim that nothing was lost. The other side is counted
// where the messages arrive.
//
// A device is one goroutine (device.go) that owns its state; paho carries the
// packets, and session.go brings the acknowledgements back in order of arrival
// without giving up the order of sending.
package devices
