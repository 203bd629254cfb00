package mqtt

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// BenchmarkUplink sends to mosquitto on loopback, without limits, 256 bytes
// with their origin as user properties.
func BenchmarkUplink(b *testing.B) {
	for _, inFlight := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("in-flight=%d", inFlight), func(b *testing.B) {
			m := peers.Mosquitto(b, peers.MosquittoOptions{Config: []string{"log_type error"}})
			o := quick(m.Addr)
			o.Limits.InFlight = inFlight
			l := connect(b, o, upstream.Hooks{}).(eager).Link // which gathers
			d := delivery("dt/device-1/telemetry", bytes.Repeat([]byte("x"), 256), func(r *bridge.Record) {
				r.Receivers[0].Origin = bridge.OriginUserProperties
			})
			var outstanding sync.WaitGroup
			report := func(o bridge.Outcome) {
				if o.Result != bridge.ResultAcked {
					b.Errorf("outcome %+v", o)
				}
				outstanding.Done()
			}
			b.ReportAllocs()
			for b.Loop() {
				outstanding.Add(1)
				if err := l.Send(b.Context(), d, report); err != nil {
					b.Fatal(err)
				}
			}
			l.Flush()
			outstanding.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
