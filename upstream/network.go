package upstream

import (
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// network knows which network this machine is on, as far as it can see. It is
// asked by all who wait, and looks once in networkEvery.
type network struct {
	look func() string

	mu   sync.Mutex
	at   time.Time
	last string
}

// networkEvery is how soon a wait notices another network.
const networkEvery = time.Second

// state differs when the network does.
func (n *network) state(now time.Time) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.at.IsZero() || now.Sub(n.at) >= networkEvery/2 {
		n.at, n.last = now, n.look()
	}
	return n.last
}

// networkNow is this machine's addresses and routes. What cannot be read is
// missing from it each time, and so no difference.
func networkNow() string {
	var parts []string
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		parts = append(parts, a.String())
	}
	slices.Sort(parts)
	routes, _ := os.ReadFile("/proc/net/route")
	for line := range strings.Lines(string(routes)) {
		// Destination, gateway and mask; what is counted there changes by itself.
		if f := strings.Fields(line); len(f) > 7 {
			parts = append(parts, f[0], f[1], f[2], f[7])
		}
	}
	return strings.Join(parts, " ")
}
