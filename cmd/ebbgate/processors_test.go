package main

import (
	"os"
	"runtime"
	"testing"
)

// TestRoomForWaiting: there is more room than there are processors, unless somebody has
// said how much there is to be.
func TestRoomForWaiting(t *testing.T) {
	was := runtime.GOMAXPROCS(0) // as the environment, -cpu or a test before this one has it
	defer func() { runtime.GOMAXPROCS(was) }()
	runtime.SetDefaultGOMAXPROCS()
	before := runtime.GOMAXPROCS(0)
	t.Setenv("GOMAXPROCS", "7") // which the runtime has read at the start
	makeRoomForWaiting()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("%d with it set, %d before", n, before)
	}
	if err := os.Unsetenv("GOMAXPROCS"); err != nil {
		t.Fatal(err)
	}
	makeRoomForWaiting()
	makeRoomForWaiting()
	if n := runtime.GOMAXPROCS(0); n != before+waitingThreads {
		t.Errorf("%d, %d before", n, before)
	}
}
