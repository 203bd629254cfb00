package peers

import (
	"context"
	"sync"
	"testing"
)

// Run lets something run that lives until its context ends, such as a broker or
// a gate: until stop is called, which waits for its end, or else until the test
// ends. An error of it fails the test.
func Run(tb testing.TB, run func(context.Context) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		tb.Helper()
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("stop: %v", err)
		}
	})
	tb.Cleanup(stop)
	return stop
}
