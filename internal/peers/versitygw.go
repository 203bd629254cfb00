package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The S3 server that nobody here wrote. It is no dependency of the module: `make
// peers`, or else the first test that needs it, builds it into bin/go.
const (
	versitygwModule  = "github.com/versity/versitygw/cmd/versitygw"
	versitygwVersion = "v1.8.0"
)

// The credentials of a store.
const (
	StoreKey    = "gateway-access-key"
	StoreSecret = "gateway-secret-key"
)

// Store is a running S3 server that keeps objects in a folder.
type Store struct {
	Addr string // host:port
	Dir  string // a folder for each bucket, in which objects are files

	tb   testing.TB
	path string
	side string // metadata
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// NewStore starts a server on loopback, without TLS, with empty buckets.
func NewStore(tb testing.TB, buckets ...string) *Store {
	tb.Helper()
	dir := tb.TempDir()
	s := &Store{tb: tb, path: versitygw(tb), Dir: filepath.Join(dir, "store"), side: filepath.Join(dir, "side"), log: filepath.Join(dir, "log")}
	for _, d := range []string{s.Dir, s.side} {
		if err := os.Mkdir(d, 0o750); err != nil {
			tb.Fatal(err)
		}
	}
	for _, b := range buckets {
		if err := os.Mkdir(filepath.Join(s.Dir, b), 0o750); err != nil {
			tb.Fatal(err)
		}
	}
	var err error
	for range 5 {
		s.Addr = FreeAddr(tb)
		if err = s.start(); err == nil {
			tb.Cleanup(s.Stop)
			return s
		}
	}
	tb.Fatalf("start versitygw: %v", err)
	return nil
}

// URL is the endpoint.
func (s *Store) URL() string { return "http://" + s.Addr }

// Start starts it again after Stop, at the same address.
func (s *Store) Start() {
	s.tb.Helper()
	if err := s.start(); err != nil {
		s.tb.Fatalf("start versitygw again: %v", err)
	}
}

// Stop ends the process at once: what it has answered is in its folder.
func (s *Store) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGKILL) // fails only when it has ended already
	<-s.done
	s.cmd = nil
}

func (s *Store) start() error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.path, "--access", StoreKey, "--secret", StoreSecret, "--region", "us-east-1", "--port", s.Addr, "posix", "--sidecar", s.side, s.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the exit status says nothing that the log does not
		close(done)
	}()
	s.cmd, s.done = cmd, done
	if err := await(s.Addr, done); err != nil {
		s.Stop()
		text, _ := os.ReadFile(s.log)
		return fmt.Errorf("%w; its log:\n%s", err, text)
	}
	return nil
}

// buildTime bounds how long the server may take to be built, on two cores that
// are shared.
const buildTime = 10 * time.Minute

// versitygw is the server's path. Where it is not there it is built, by one test
// at a time; the others wait.
func versitygw(tb testing.TB) string {
	tb.Helper()
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "..", "..", "bin", "go")
	path := filepath.Join(dir, "versitygw-"+versitygwVersion)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		tb.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer lock.Close() // lets go of it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		tb.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	made := tb.TempDir()
	cmd := exec.CommandContext(ctx, Need(tb, "go"), "install", "-trimpath", versitygwModule+"@"+versitygwVersion)
	cmd.Dir = made // not in the module: it is none of its dependencies
	cmd.Env = append(os.Environ(), "GOBIN="+made, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		Missing(tb, fmt.Sprintf("versitygw, which could not be built (%v):\n%s", err, strings.TrimSpace(string(out))))
	}
	// By one rename it is whole for whoever looks; the folders may be on two disks.
	if err := copyProgram(filepath.Join(made, "versitygw"), path); err != nil {
		tb.Fatal(err)
	}
	return path
}

func copyProgram(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	part := to + ".part"
	if err := os.WriteFile(part, text, 0o750); err != nil { //nolint:gosec // a program
		return err
	}
	return os.Rename(part, to)
}
