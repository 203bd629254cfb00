package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// MosquittoOptions choose how a mosquitto runs. The zero options are a plain
// anonymous listener that keeps nothing, 100 in flight and an unlimited queue.
type MosquittoOptions struct {
	TLS         bool              // also listen with TLS, demanding client certificates of CA
	CA          *Authority        // for TLS; nil makes one
	Users       map[string]string // user name → password; none: anonymous
	ACL         []string          // lines of an ACL file; none: everything is allowed
	Persistence bool              // keep messages and sessions over Stop and Start
	WebSocket   bool              // also listen for WebSockets, and with TLS for secure ones without client certificates
	Config      []string          // further lines of mosquitto.conf; they replace defaults of the same key
}

// Broker is a running mosquitto.
type Broker struct {
	Addr       string     // host:port of the plain listener
	TLSAddr    string     // host:port of the TLS listener, or empty
	WSAddr     string     // host:port of the listener for WebSockets, or empty
	WSSAddr    string     // host:port of that for secure WebSockets, or empty
	CA         *Authority // the TLS listener's, or nil
	ClientCert *Cert      // a certificate that the TLS listener takes, or nil
	PID        int        // of the running process

	tb   testing.TB
	path string
	dir  string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
}

// startTime bounds how long a mosquitto may take to listen.
const startTime = 10 * time.Second

// Mosquitto starts Debian's mosquitto on free loopback ports.
func Mosquitto(tb testing.TB, o MosquittoOptions) *Broker {
	tb.Helper()
	b := &Broker{tb: tb, path: Need(tb, "mosquitto"), dir: tb.TempDir()}
	if o.TLS {
		if b.CA = o.CA; b.CA == nil {
			b.CA = CA(tb)
		}
		b.ClientCert = b.CA.Client("gateway", Validity{})
	}
	// A port that was free a moment ago may be taken by the time mosquitto
	// binds it, so a few pairs are tried.
	var err error
	for range 5 {
		b.Addr = FreeAddr(tb)
		if o.TLS {
			b.TLSAddr = FreeAddr(tb)
		}
		if o.WebSocket {
			b.WSAddr = FreeAddr(tb)
		}
		if o.WebSocket && o.TLS {
			b.WSSAddr = FreeAddr(tb)
		}
		b.configure(o)
		if err = b.start(); err == nil {
			tb.Cleanup(b.Stop)
			return b
		}
	}
	tb.Fatalf("start mosquitto: %v", err)
	return nil
}

// Stop ends the process with SIGTERM, so that it saves what it persists.
func (b *Broker) Stop() { b.end(syscall.SIGTERM) }

// Kill ends the process with SIGKILL.
func (b *Broker) Kill() { b.end(syscall.SIGKILL) }

// Start starts it again after Stop or Kill, on the same ports.
func (b *Broker) Start() {
	b.tb.Helper()
	if err := b.start(); err != nil {
		b.tb.Fatalf("start mosquitto again: %v", err)
	}
}

// Log is what mosquitto has logged since its first start.
func (b *Broker) Log() string {
	text, _ := os.ReadFile(b.logFile()) // no file: nothing logged
	return string(text)
}

func (b *Broker) logFile() string { return filepath.Join(b.dir, "mosquitto.log") }

func (b *Broker) end(sig syscall.Signal) {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Signal(sig) // fails only when it has ended already
	<-b.done
	b.cmd = nil
}

func (b *Broker) start() error {
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(b.path, "-c", filepath.Join(b.dir, "mosquitto.conf"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the exit status says nothing that the log does not
		close(done)
	}()
	b.cmd, b.done, b.PID = cmd, done, cmd.Process.Pid
	for _, addr := range []string{b.Addr, b.TLSAddr, b.WSAddr, b.WSSAddr} {
		if addr == "" {
			continue
		}
		if err := await(addr, done); err != nil {
			b.Kill()
			return fmt.Errorf("%w; its log:\n%s", err, b.Log())
		}
	}
	return nil
}

// await returns once addr accepts connections, twice: another test that looks for a free
// port may listen there for a moment.
func await(addr string, ended <-chan struct{}) error {
	deadline := time.After(startTime)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for accepted := 0; ; {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			accepted = 0
		} else {
			_ = c.Close() // nothing was written
			if accepted++; accepted == 2 {
				return nil
			}
		}
		select {
		case <-ended:
			return fmt.Errorf("it ended before it listened on %s", addr)
		case <-deadline:
			return fmt.Errorf("it does not listen on %s after %v", addr, startTime)
		case <-tick.C:
		}
	}
}

func (b *Broker) configure(o MosquittoOptions) {
	b.tb.Helper()
	lines := append([]string(nil), o.Config...)
	global := func(key, value string) {
		for _, l := range o.Config {
			if strings.HasPrefix(l, key+" ") {
				return
			}
		}
		lines = append(lines, key+" "+value)
	}
	if os.Geteuid() == 0 {
		global("user", "root") // it may not write the test's folder as anybody else
	}
	global("log_type", "all")
	global("log_dest", "stderr")
	global("set_tcp_nodelay", "true")
	global("max_inflight_messages", "100")
	global("max_queued_messages", "0")
	global("per_listener_settings", "false")
	if o.Persistence {
		global("persistence", "true")
		global("persistence_location", b.dir+"/")
	} else {
		global("persistence", "false")
	}
	if len(o.Users) > 0 {
		global("allow_anonymous", "false")
		global("password_file", b.passwords(o.Users))
	} else {
		global("allow_anonymous", "true")
	}
	if len(o.ACL) > 0 {
		global("acl_file", b.file("acl", strings.Join(o.ACL, "\n")+"\n"))
	}
	_, port, _ := net.SplitHostPort(b.Addr) // FreeAddr made it
	lines = append(lines, "listener "+port+" 127.0.0.1")
	if o.TLS {
		cert := b.CA.Server("mosquitto")
		_, port, _ := net.SplitHostPort(b.TLSAddr)
		lines = append(lines, "listener "+port+" 127.0.0.1",
			"cafile "+b.CA.File, "certfile "+cert.CertFile, "keyfile "+cert.KeyFile, "require_certificate true")
	}
	for _, addr := range []string{b.WSAddr, b.WSSAddr} {
		if addr == "" {
			continue
		}
		_, port, _ := net.SplitHostPort(addr)
		lines = append(lines, "listener "+port+" 127.0.0.1", "protocol websockets")
		if addr == b.WSSAddr {
			cert := b.CA.Server("mosquitto")
			lines = append(lines, "certfile "+cert.CertFile, "keyfile "+cert.KeyFile)
		}
	}
	b.file("mosquitto.conf", strings.Join(lines, "\n")+"\n")
}

func (b *Broker) passwords(users map[string]string) string {
	b.tb.Helper()
	path := b.file("passwords", "")
	for name, password := range users {
		cmd := exec.Command(Need(b.tb, "mosquitto_passwd"), "-b", path, name, password)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.tb.Fatalf("mosquitto_passwd: %v: %s", err, out)
		}
	}
	return path
}

func (b *Broker) file(name, text string) string {
	b.tb.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.tb.Fatalf("write %s: %v", path, err)
	}
	return path
}
