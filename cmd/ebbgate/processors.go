package main

import (
	"os"
	"runtime"
)

// waitingThreads are threads beyond the processors that may run Go code. A thread that
// waits for the disk keeps its place until the runtime's monitor notices, which may take
// longer than the disk does: where there are two, one in a commit's sync and one in a
// file's write are all, and a message that has come waits for both. Kernels share out
// processors among a few threads more at once.
const waitingThreads = 2

// makeRoomForWaiting lets the runtime have places for them, unless the environment says
// how many there are to be. A container's limit that changes later holds from the next
// start, as the runtime does not follow it any more.
func makeRoomForWaiting() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS() // a gateway may have been run before
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + waitingThreads)
	}
}
