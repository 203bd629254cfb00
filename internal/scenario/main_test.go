package scenario

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// They wait for disks, links and time-outs more than they compute. Who says
	// -parallel is heard: flags are read after this.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "ebbgate-scenario-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv(binDirEnv, dir)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // a temporary folder: what stays does no harm
		os.Exit(code)
	}))
}

const binDirEnv = "EBBGATE_SCENARIO_BIN"

// built builds the binary once for all scenarios.
var built = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(os.Getenv(binDirEnv), "ebbgate")
	cmd := exec.Command("go", "build", "-o", bin, "github.com/ebbgate/ebbgate/cmd/ebbgate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

func binary(t testing.TB) string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// soak reports whether the long form of the tests is wanted.
func soak() bool { return os.Getenv("EBBGATE_SOAK") == "1" }

// scaled is the one in a soak and the other in a normal test.
func scaled[T any](long, normal T) T {
	if soak() {
		return long
	}
	return normal
}

// dice is the scenario's source of chance; its seed is logged.
func dice(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("EBBGATE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("EBBGATE_SEED: %v", err)
		}
	}
	t.Logf("EBBGATE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
