package scenario

import (
	wire "encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// wallClock is the wall clock of a gateway, which a test sets while it runs.
//
// A Go program reads the wall clock in one place, time.Now. So the gateway is
// built with a line more there, which adds what a file says, and with a kernel
// that says from the same file whether the clock is synchronised. Everything in
// the process sees the same clock, TLS and the database included; timers and the
// monotonic clock go on as they do when somebody sets the clock of a machine.
type wallClock struct {
	t    testing.TB
	file *os.File
}

// wallClockEnv names the file: seconds that are added, and 1 for synchronised,
// 8 bytes each.
const wallClockEnv = "EBBGATE_SCENARIO_CLOCK"

// turnable makes a wall clock that is right and synchronised.
func turnable(t testing.TB) *wallClock {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "clock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	c := &wallClock{t, file}
	c.set(time.Now(), true)
	return c
}

// set sets the clock to a time, from which it goes on.
func (c *wallClock) set(wall time.Time, synchronised bool) {
	c.t.Helper()
	b := wire.NativeEndian.AppendUint64(nil, uint64(int64(time.Until(wall).Round(time.Second)/time.Second)))
	flag := uint64(0)
	if synchronised {
		flag = 1
	}
	if _, err := c.file.WriteAt(wire.NativeEndian.AppendUint64(b, flag), 0); err != nil {
		c.t.Fatal(err)
	}
}

// rule sets the command of a gateway up so that it goes by the clock.
func (c *wallClock) rule(cmd *exec.Cmd) {
	c.t.Helper()
	bin, err := builtTurnable()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd.Path, cmd.Args[0] = bin, bin
	cmd.Env = append(os.Environ(), wallClockEnv+"="+c.file.Name())
}

// builtTurnable builds the binary with a clock that can be set, once.
var builtTurnable = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.Getenv(binDirEnv), "turnable")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	library := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	status, err := filepath.Abs("../../cmd/ebbgate/status.go")
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	put := func(path, name, text string) error {
		overlay.Replace[path] = filepath.Join(dir, name)
		return os.WriteFile(overlay.Replace[path], []byte(text), 0o600)
	}
	changed := func(path, what, by string) error {
		text, err := os.ReadFile(path)
		if err == nil && strings.Count(string(text), what) != 1 {
			err = fmt.Errorf("%s has changed: a clock for tests is put in at %q, once", path, what)
		}
		if err != nil {
			return err
		}
		return put(path, filepath.Base(path), strings.Replace(string(text), what, by, 1))
	}
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if err := changed(filepath.Join(library, "time.go"), reads, reads+"\tsec += scenarioClock[0]\n"); err != nil {
		return "", err
	}
	if err := put(filepath.Join(library, "scenario.go"), "scenario.go", scenarioClock); err != nil {
		return "", err
	}
	if err := changed(status, "unix.Adjtimex(&t)", "time.ScenarioAdjtimex(&t.Status)"); err != nil {
		return "", err
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "ebbgate")
	cmd := exec.Command("go", "build", "-overlay", file, "-o", bin, "github.com/ebbgate/ebbgate/cmd/ebbgate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

// scenarioClock is what is put into the package time.
const scenarioClock = `package time

import (
	"errors"
	"syscall"
	"unsafe"
)

// scenarioClock is a file that the test writes: what is added, and whether the
// clock is synchronised.
var scenarioClock = func() *[2]int64 {
	path, _ := syscall.Getenv("` + wallClockEnv + `")
	file, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return new([2]int64)
	}
	defer syscall.Close(file)
	b, err := syscall.Mmap(file, 0, 16, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(errors.New("map the clock: " + err.Error()))
	}
	return (*[2]int64)(unsafe.Pointer(&b[0]))
}()

// ScenarioAdjtimex says of the clock what the kernel would.
func ScenarioAdjtimex(status *int32) (state int, err error) {
	if scenarioClock[1] == 0 {
		*status |= 0x40 // STA_UNSYNC
		return 5, nil // TIME_ERROR
	}
	return 0, nil
}
`
