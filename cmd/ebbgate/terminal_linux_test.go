package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// openTerminal makes a pseudo terminal: what is written to keys is typed, what
// is drawn is read from it; screen is the program's side.
func openTerminal(t *testing.T, columns, rows uint16) (keys, screen *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		peers.Missing(t, "a pseudo terminal: "+err.Error())
	}
	keys = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { _ = keys.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	return keys, screen
}

// TestDemoInATerminal presses every key and looks at what is drawn.
func TestDemoInATerminal(t *testing.T) {
	keys, screen := openTerminal(t, 160, 50)
	before, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t), "demo", "--devices", "5", "--interval", "50ms")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var drawn lockedBuffer
	go func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := keys.Read(buf)
			_, _ = drawn.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	see := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(drawn.String(), what); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				s := drawn.String()
				_ = cmd.Process.Kill()
				t.Fatalf("never saw %q; last:\n%s", what, s[max(0, len(s)-3000):])
			}
		}
	}
	press := func(key string) {
		t.Helper()
		if _, err := keys.WriteString(key); err != nil {
			t.Fatal(err)
		}
	}
	see("5 connected")
	press("d")
	see("PUBACK 0x87")
	see("NeverForOthers") // the statement behind the refusal
	press("c")
	see("a black hole")
	see("the gateway says: connecting")
	press("p")
	see("takes devices again after")
	press("r")
	see("the link is back")
	see("the alarm of sim-01 arrived after")
	if strings.Contains(drawn.String(), "another connection uses the client id") {
		t.Error("the gateway's own attempts of before are shown as a second gateway")
	}
	press("q")
	see("acknowledged to the devices")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	see("lost                         0\r\n")
	after, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Errorf("the terminal was not given back: %+v, was %+v", after, before)
	}
	if s := drawn.String(); !strings.Contains(s, "\x1b[?1049h") || strings.LastIndex(s, "\x1b[?1049l") < strings.LastIndex(s, "\x1b[?1049h") {
		t.Error("the screen was not given back")
	}
}
