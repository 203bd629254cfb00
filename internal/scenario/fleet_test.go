package scenario

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/ebbgate/ebbgate/internal/tally"
)

// fleet is a number of devices that publish numbered messages in order.
type fleet struct {
	devices  int
	messages int           // each; 0: without end
	window   int           // in flight, each
	size     int           // of a payload, in bytes
	every    time.Duration // between two messages, of each device; 0: as fast as the window lets it
	name     string        // before the device's number; empty: "device"
	password string        // of all, each under its own name; empty: they give none

	body func(device string, number uint64, size int) []byte // nil: payload

	acked  tally.Set // what has a PUBACK
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// start connects the devices to addr. They reconnect by themselves, and send
// again, in order, what has no PUBACK.
func (f *fleet) start(t testing.TB, addr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	t.Cleanup(f.stop)
	if f.name == "" {
		f.name = "device"
	}
	if f.body == nil {
		f.body = payload
	}
	for i := range f.devices {
		d := &device{fleet: f, addr: addr, id: fmt.Sprintf("%s-%02d", f.name, i+1), next: 1}
		f.wg.Go(func() { d.run(ctx) })
	}
}

// stop ends the devices, wherever they are.
func (f *fleet) stop() {
	f.cancel()
	f.wg.Wait()
}

// wait returns once every device has all of its acknowledgements, or false
// when the time is up.
func (f *fleet) wait(within time.Duration) bool {
	done := make(chan struct{})
	go func() {
		f.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(within):
		f.stop()
		<-done
		return false
	}
}

// device is one client. Only its own goroutine and its acknowledger touch it.
type device struct {
	*fleet
	addr string
	id   string
	next uint64 // the oldest message without a PUBACK
}

func (d *device) run(ctx context.Context) {
	for ctx.Err() == nil && !d.finished() {
		d.connection(ctx)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (d *device) finished() bool { return d.messages > 0 && d.next > uint64(d.messages) }

// sent is one publish under way.
type sent struct {
	number uint64
	token  mqtt.Token
}

// connection is one connection: it publishes from the oldest unacknowledged
// message on until all is done or the connection is lost.
func (d *device) connection(ctx context.Context) {
	lost := make(chan struct{})
	var once sync.Once
	o := mqtt.NewClientOptions()
	if d.password != "" {
		o.SetUsername(d.id).SetPassword(d.password)
	}
	c := mqtt.NewClient(o.
		AddBroker("tcp://" + d.addr).
		SetClientID(d.id).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectTimeout(5 * time.Second).
		SetWriteTimeout(5 * time.Second).
		SetKeepAlive(10 * time.Second).
		SetConnectionLostHandler(func(mqtt.Client, error) { once.Do(func() { close(lost) }) }))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		c.Disconnect(0)
		return
	}
	defer c.Disconnect(0)

	flight := make(chan sent, d.window-1) // and the one that the acknowledger holds
	failed := make(chan struct{})
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		defer close(failed)
		d.acknowledge(ctx, flight)
	}()
	d.publish(ctx, c, flight, lost, failed)
	close(flight)
	<-acked
}

// publish sends in order, at most a window ahead of the acknowledgements.
func (d *device) publish(ctx context.Context, c mqtt.Client, flight chan<- sent, lost, failed <-chan struct{}) {
	for n := d.next; d.messages == 0 || n <= uint64(d.messages); n++ {
		tok := c.Publish("dt/"+d.id, 1, false, d.body(d.id, n, d.size))
		if d.every > 0 {
			select {
			case <-time.After(d.every):
			case <-ctx.Done():
			}
		}
		select {
		case flight <- sent{n, tok}:
		case <-lost:
			return
		case <-failed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// acknowledge takes the acknowledgements in order, and ends at the first that
// does not come.
func (d *device) acknowledge(ctx context.Context, flight <-chan sent) {
	for s := range flight {
		select {
		case <-s.token.Done():
		case <-ctx.Done():
			return
		}
		if s.token.Error() != nil {
			return
		}
		d.acked.Add(d.id, s.number)
		d.next = s.number + 1
	}
}

// payload is "device number " and padding.
func payload(device string, number uint64, size int) []byte {
	s := device + " " + strconv.FormatUint(number, 10) + " "
	return []byte(s + strings.Repeat(".", max(0, size-len(s))))
}

// parse reads back what payload wrote.
func parse(p []byte) (device string, number uint64, ok bool) {
	f := strings.SplitN(string(p), " ", 3)
	if len(f) != 3 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(f[1], 10, 64)
	return f[0], n, err == nil
}
