package main

import (
	"os"
	"runtime"
	"testing"
)

// TestRoomForWaiting: there is more room than there are processors, unless somebody has
// said how much there is to be.
func TestRoomForWaiting(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(was)
	t.Setenv("GOMAXPROCS", "7") // which the runtime has read at the start
	makeRoomForWaiting()
	if n := runtime.GOMAXPROCS(0); n != was {
		t.Errorf("%d with it set, %d before", n, was)
	}
	if err := os.Unsetenv("GOMAXPROCS"); err != nil { // t.Setenv puts back what there was
		t.Fatal(err)
	}
	runtime.SetDefaultGOMAXPROCS()
	before := runtime.GOMAXPROCS(0)
	makeRoomForWaiting()
	makeRoomForWaiting()
	if n := runtime.GOMAXPROCS(0); n != before+waitingThreads {
		t.Errorf("%d, %d before", n, before)
	}
}
