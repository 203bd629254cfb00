package peers

import (
	"os"
	"os/exec"
	"testing"
)

// RequireEnv is the environment variable that turns skips into failures.
const RequireEnv = "EBBGATE_REQUIRE_PEERS"

// Need finds a program, in PATH or where Debian keeps daemons, and skips the
// test when the machine does not have it.
func Need(tb testing.TB, program string) string {
	tb.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program, "/usr/bin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(tb, program)
	return ""
}

// NeedRoot skips the test when it does not run as root.
func NeedRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		Missing(tb, "root")
	}
}

// Missing skips the test because the machine lacks what, or fails it when
// [RequireEnv] is 1. It does not return.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv(RequireEnv) == "1" {
		tb.Fatalf("needs %s, and %s=1", what, RequireEnv)
	}
	tb.Skipf("needs %s", what)
}
