package peers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddr is an address on this machine at which nobody listens, for a program
// that is started and started again. Its port is none of those that the system
// gives to outgoing connections: on a busy machine one of these would have it
// while the program is down, and the program could not start any more.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	const first, ports, tries = 20_000, 12_000, 100 // Linux gives 32768 and above
	var err error
	for range tries {
		addr := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(ports))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	tb.Fatalf("find a free port: %v", err)
	return ""
}
