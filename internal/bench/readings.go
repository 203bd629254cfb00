package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
)

// readingSize is the size of a reading in bytes, as the issue says.
const readingSize = 100

// firstReading is the number of the first.
const firstReading = 1_000_000

// readings make what sensors send: JSON of readingSize bytes with a time, values
// that wander, and a number that tells it from every other.
type readings struct {
	r     *rand.Rand
	n     int
	value [5]float64
}

func newReadings(seed uint64) *readings {
	return &readings{r: rand.New(rand.NewPCG(seed, 2)), value: [5]float64{55, 1450, 3.4, 61, 42}}
}

// next is the next reading. Every value has as many characters each time.
func (s *readings) next() string {
	step := func(i int, by, low, high float64) float64 {
		s.value[i] = min(max(s.value[i]+by*s.r.NormFloat64(), low), high)
		return s.value[i]
	}
	n := s.n
	s.n++
	return fmt.Sprintf(`{"n":%d,"ts":%d,"temp":%.2f,"rpm":%.0f,"bar":%.3f,"oil":%.1f,"state":"run","i":%.0f}`,
		firstReading+n, 1_760_000_000_000+int64(n)*125, step(0, 0.05, 20, 90), step(1, 3, 1000, 2000), step(2, 0.01, 1, 9), step(3, 0.1, 20, 90), step(4, 0.3, 10, 90))
}

// readingTopic is the topic of a device below dt/, of n bytes.
func readingTopic(device, n int) string {
	topic := fmt.Sprintf("dt/load-%03d/site1/", device)
	return topic + "line4-cell07/press-and-mixer/telemetry-of-every-second-and-more"[:n-len(topic)]
}

// tell publishes readings to a broker at QoS 1, a number of devices in turn, and
// returns when each is acknowledged.
func tell(ctx context.Context, addr string, devices, topicSize, n int) error {
	const inFlight = 4 // of a device: sensors do not send in bursts
	made := newReadings(1)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_, _ = c.Write([]byte{packetDisconnect, 0}) // the peer may be gone
			_ = c.Close()
		}
	}()
	for i := range devices {
		c, err := connect(ctx, addr, clientName(i))
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		conns = append(conns, c)
	}
	sent := 0
	acked := make([]int, devices)
	for sent < n {
		batches := make([][]byte, devices)
		expect := make([]int, devices)
		for range min(inFlight*devices, n-sent) {
			d := sent % devices
			body := appendText(nil, readingTopic(d, topicSize))
			body = binary.BigEndian.AppendUint16(body, uint16(expect[d]+1))
			body = append(body, made.next()...)
			batches[d] = append(appendRemaining(append(batches[d], packetPublish|flagQoS1), len(body)), body...)
			expect[d]++
			sent++
		}
		for d, b := range batches {
			if _, err := conns[d].Write(b); err != nil {
				return fmt.Errorf("%s: %w", clientName(d), err)
			}
		}
		for d, k := range expect {
			if _, err := io.ReadFull(conns[d], make([]byte, ackSize*k)); err != nil {
				return fmt.Errorf("%s: %d readings acknowledged: %w", clientName(d), acked[d], err)
			}
			acked[d] += k
		}
	}
	return nil
}
