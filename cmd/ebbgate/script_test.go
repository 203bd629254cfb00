package main

import (
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ebbgate": func() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the command lines of testdata/script, each with the promise
// that it shows in its first lines. "await FILE" waits for the first line of a
// file, a URL, and sets HOST and PORT; "await FILE TEXT" waits for a text.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await}})
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
