package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"
)

// typist is a person at a terminal: it sees what is drawn, and types.
type typist struct {
	t     *testing.T
	keys  *os.File
	drawn *lockedBuffer
}

func newTypist(t *testing.T) (typist, *os.File) {
	t.Helper()
	keys, screen := openTerminal(t, 80, 24)
	p := typist{t, keys, new(lockedBuffer)}
	go func() { _, _ = io.Copy(p.drawn, keys) }()
	return p, screen
}

// answer waits for a prompt and for the echo to be off, and types.
func (p typist) answer(screen *os.File, prompt, text string) {
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) {
		now, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
		if err == nil && strings.HasSuffix(p.drawn.String(), prompt) && now.Lflag&unix.ECHO == 0 {
			break
		}
		if time.Now().After(deadline) {
			p.t.Errorf("never asked %q without echo; saw %q", prompt, p.drawn.String())
			break
		}
	}
	if _, err := p.keys.WriteString(text); err != nil {
		p.t.Error(err)
	}
}

// TestPasswordOnATerminal: it is asked for twice, is not echoed, and the
// terminal is given back as it was, after Ctrl-C too.
func TestPasswordOnATerminal(t *testing.T) {
	p, screen := newTypist(t)
	before, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	unchanged := func(when string) {
		t.Helper()
		if after, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS); err != nil || *after != *before {
			t.Errorf("%s: the terminal was not given back: %+v, was %+v, %v", when, after, before, err)
		}
	}
	hash := func(ctx context.Context, stdout io.Writer) error {
		cmd := newUserCommand()
		cmd.SetArgs([]string{"hash"})
		cmd.SetIn(screen)
		cmd.SetOut(stdout)
		cmd.SetErr(screen)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		return cmd.ExecuteContext(ctx)
	}

	go func() {
		p.answer(screen, "Password: ", "sesame\n")
		p.answer(screen, "Again: ", "sesame\n")
	}()
	var stdout bytes.Buffer
	if err := hash(t.Context(), &stdout); err != nil {
		t.Fatal(err)
	}
	if err := bcrypt.CompareHashAndPassword(bytes.TrimSpace(stdout.Bytes()), []byte("sesame")); err != nil {
		t.Errorf("%q: %v", stdout.String(), err)
	}
	unchanged("after a password")

	go func() {
		p.answer(screen, "Password: ", "sesame\n")
		p.answer(screen, "Again: ", "seasme\n")
	}()
	if err := hash(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "differ") {
		t.Errorf("two passwords: %v", err)
	}
	unchanged("after two passwords")
	if strings.Contains(p.drawn.String(), "sesame") {
		t.Errorf("the password is on the screen: %q", p.drawn.String())
	}

	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		p.answer(screen, "Password: ", "ses")
		interrupt()
	}()
	if err := hash(ctx, io.Discard); err == nil || !strings.Contains(err.Error(), "no password") {
		t.Errorf("Ctrl-C: %v", err)
	}
	unchanged("after Ctrl-C")
	if _, err := p.keys.WriteString("\n"); err != nil { // the read ends before its terminal is closed
		t.Error(err)
	}
}
