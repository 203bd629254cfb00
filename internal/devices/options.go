package devices

import (
	"context"
	"errors"
	"net"
	"time"
)

// Options describe a fleet.
type Options struct {
	Address  string // host:port of the broker
	Count    int    // devices
	Prefix   string // of client ids; the default is "sim-"
	Messages int    // each device sends; 0: no end
	Window   int    // messages of a device awaiting their PUBACK, 1 to 1000
	Payload  int    // bytes, at least what the id takes
	BigEvery int    // every so many-th message has BigBytes; 0: none
	BigBytes int

	// Interval is the time between two messages of a device; 0: as fast as the
	// window allows.
	Interval time.Duration

	// Dial opens a device's connection; nil dials Address over TCP.
	Dial func(ctx context.Context, device string) (net.Conn, error)
}

// Reconnecting: quick, because what is simulated is a gateway on the same LAN,
// with jitter, because what is simulated are many devices.
const (
	backoffMin     = 50 * time.Millisecond
	backoffMax     = 500 * time.Millisecond
	connectTimeout = 5 * time.Second
	keepAlive      = 30 // seconds
)

func (o *Options) prepare() error {
	if o.Count < 1 || o.Count > 10_000 {
		return errors.New("devices: between 1 and 10,000 devices are needed")
	}
	if o.Window < 1 || o.Window > 1000 {
		return errors.New("devices: the window must be between 1 and 1,000")
	}
	if o.Prefix == "" {
		o.Prefix = "sim-"
	}
	if o.Dial == nil {
		var d net.Dialer
		address := o.Address
		o.Dial = func(ctx context.Context, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	return nil
}
