package peers

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryNeeded is what the tests of a package take at the most, generously: a
// spool reserves some 200 MB of files, and a few are open at a time.
const memoryNeeded = 6 << 30

// InMemory puts the temporary folders of a package's tests into memory, when the
// machine has a file system there with room. It is for packages whose subject is not
// the disk: each waits for its syncs, and while others sync as well a single one can
// take seconds. What the disk itself does is the matter of spool and scenario, which
// stay on it. TestMain calls it, before the tests.
func InMemory() {
	const folder = "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || int64(fs.Bavail)*fs.Bsize < memoryNeeded {
		return
	}
	_ = os.Setenv("TMPDIR", folder) // fails only for a bad name
}
