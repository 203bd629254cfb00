package bridge_test

import (
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// Batches of several devices and of one, under the names that are told of them, stay
// in the order in which they were made, on one connection at a time, while
// connections die and batches are refused: any two may hold the same device. That is
// so across the queues of one route as well. Other queues go by the device.
func TestBatchesOfSeveralDevicesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	s := openSpool(t)
	const n = 1000
	left, free := bridge.OwnQueue(normal, "pump"), "up/cloud/free"
	batches, others := newReceiver(t, 20), newReceiver(t, 20)
	batches.whole, batches.faults = true, true
	for part := range 4 {
		putFrom(t, s, []string{normal, left}[part%2], part*n/4, n/4, func(i int) string { return []string{"(several)", "a", "b", "c"}[i%4] })
	}
	putMany(t, s, free, n, func(i int) string { return fmt.Sprint("d", i%37) })

	f, end := start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Together: normal}, {Name: left, Together: normal}}}, s, batches.senders(4))
	await(t, func() string { return fmt.Sprint(f.Stats(), s.Depth(normal), s.Depth(left)) }, empty(s, normal, left))
	end()

	f, end = start(t, bridge.ForwarderConfig{Upstream: "cloud", Queues: []bridge.QueueRef{{Name: normal, Together: normal}, {Name: free}}}, s, others.senders(4))
	await(t, func() string { return fmt.Sprint(f.Stats(), s.Depth(free)) }, empty(s, free))
	end()
	if len(others.used) != 4 {
		t.Errorf("what need not go together went by the connections %v", others.used)
	}
}
