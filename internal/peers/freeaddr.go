package peers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
)

// FreeAddr is an address on this machine at which nobody listens, for a program
// that is started and started again. Its port is none of those that the system
// gives to outgoing connections: on a busy machine one of these would have it
// while the program is down, and the program could not start any more. Nor does another
// test get it, of whatever package, until this one ends.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	const first, ports, tries = 20_000, 12_000, 100 // Linux gives 32768 and above
	var err error
	for range tries {
		port := first + rand.IntN(ports)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err != nil {
			continue
		}
		_ = l.Close()
		if err = claim(tb, port); err == nil {
			return addr
		}
	}
	tb.Fatalf("find a free port: %v", err)
	return ""
}

// claim claims a port until the test ends. The claim is a name among the sockets of
// Linux that are no files, which goes with the process; elsewhere there is none.
func claim(tb testing.TB, port int) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	l, err := net.Listen("unix", fmt.Sprintf("@ebbgate-test-port-%d", port))
	if err != nil {
		return err
	}
	tb.Cleanup(func() { _ = l.Close() })
	return nil
}
