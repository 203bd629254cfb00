package main

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestMain(m *testing.M) {
	testscript.Main(withFolder{m}, map[string]func(){
		"ebbgate": func() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// withFolder is the tests, with a folder for the binary that some of them run.
type withFolder struct{ *testing.M }

// binFolder is the folder.
var binFolder string

// Run implements testscript.TestingM.
func (m withFolder) Run() int {
	peers.InMemory()
	var err error
	if binFolder, err = os.MkdirTemp("", "ebbgate-cmd-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(binFolder) }() // a temporary folder: what stays does no harm
	return m.M.Run()
}

// built builds the binary once for all tests, as make build does.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binFolder, "ebbgate")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func program(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestScripts runs the command lines of testdata/script, each with the promise
// that it shows in its first lines. "await FILE" waits for the first line of a
// file, a URL, and sets HOST and PORT; "await FILE TEXT" waits for a text.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await},
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // or each command takes a second longer
			return nil
		},
	})
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: await FILE [TEXT]")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		data, _ := os.ReadFile(ts.MkAbs(args[0]))
		if len(args) == 2 {
			if strings.Contains(string(data), args[1]) {
				return
			}
			continue
		}
		line, _, whole := strings.Cut(string(data), "\n")
		if u, err := url.Parse(line); whole && err == nil {
			ts.Setenv("HOST", u.Hostname())
			ts.Setenv("PORT", u.Port())
			return
		}
	}
	data, _ := os.ReadFile(ts.MkAbs(args[0]))
	ts.Fatalf("%s never came to it:\n%s", args[0], data)
}
