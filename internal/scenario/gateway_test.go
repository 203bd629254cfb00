package scenario

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// site is what a scenario chooses of a gateway's configuration.
type site struct {
	Data      string // the spool's folder; empty: below the test's
	Endpoint  string // of the cloud, mqtt:// or mqtts://
	CA        string // PEM files for mqtts
	Cert, Key string
	Listen    string // chosen by newGateway
	Admin     string // chosen by newGateway
	Set       []string
}

// config is the gateway of the scenarios: quick to reconnect, and without the
// cloud's rate limits, so that a test of order and loss does not take a day.
var config = template.Must(template.New("config").Parse(`gateway:
  id: site-1
spool:
  dir: {{.Data}}
  durability: disk
policy:
  things: things.yaml
  policies: policies
listeners:
  - name: lan
    type: tcp
    address: {{.Listen}}
    profile: aws-edge
    auth: anonymous
    policies: [fleet]
    hold_timeout: 2s
routes:
  up:
    - {name: telemetry, from: "dt/#", upstream: cloud, topic: "${topic}"}
upstreams:
  cloud:
    type: mqtt
    endpoint: {{.Endpoint}}
    {{- if .CA}}
    tls: {ca: {{.CA}}, cert: {{.Cert}}, key: {{.Key}}, server_name: localhost}
    {{- end}}
    limits: {messages_per_second: 0, bytes_per_second: 0, in_flight: 100}
    ack_timeout: 3s
    connect_timeout: 3s
    backoff: {base: 100ms, max: 500ms, floor: 100ms}
admin:
  address: {{.Admin}}
log: {format: text, level: info}
shutdown_timeout: 3s
`))

const fleetPolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/dt/*"}
  ]
}`

// gateway is one ebbgate process and what belongs to it.
type gateway struct {
	site
	tb   testing.TB
	dir  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended

	clock *wallClock // nil: the machine's
}

// uplinkWindow is how many messages the configured gateway has in flight.
const uplinkWindow = 100

// newGateway writes the configuration of a site; it starts nothing.
func newGateway(tb testing.TB, s site) *gateway {
	tb.Helper()
	g := &gateway{site: s, tb: tb, dir: tb.TempDir()}
	g.Listen, g.Admin = freeAddr(tb), freeAddr(tb)
	if g.Data == "" {
		g.Data = filepath.Join(g.dir, "data")
	}
	var text bytes.Buffer
	if err := config.Execute(&text, g.site); err != nil {
		tb.Fatal(err)
	}
	g.write("ebbgate.yaml", text.String())
	g.write("things.yaml", "things: {}\n")
	g.write("policies/fleet.json", fleetPolicy)
	tb.Cleanup(func() {
		g.kill()
		if tb.Failed() && g.log() != "" {
			tb.Logf("end of the gateway's log:\n%s", tail(g.log(), 40))
		}
	})
	return g
}

func (g *gateway) write(name, text string) {
	g.tb.Helper()
	p := filepath.Join(g.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		g.tb.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		g.tb.Fatal(err)
	}
}

func (g *gateway) configFile() string { return filepath.Join(g.dir, "ebbgate.yaml") }
func (g *gateway) logFile() string    { return filepath.Join(g.dir, "ebbgate.log") }

func (g *gateway) log() string {
	b, _ := os.ReadFile(g.logFile()) // never started: nothing logged
	return string(b)
}

// launch starts the process and does not wait for it to be ready.
func (g *gateway) launch() {
	g.tb.Helper()
	out, err := os.OpenFile(g.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.tb.Fatal(err)
	}
	defer out.Close()
	args := []string{"run", "--config", g.configFile()}
	for _, s := range g.Set {
		args = append(args, "--set", s)
	}
	cmd := exec.Command(binary(g.tb), args...)
	if g.clock != nil {
		g.clock.rule(cmd)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		g.tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the exit code is in ProcessState
		close(done)
	}()
	g.cmd, g.done = cmd, done
}

// start starts the process and waits until it is ready.
func (g *gateway) start() time.Duration {
	g.tb.Helper()
	began := time.Now()
	g.launch()
	if err := g.awaitReady(30 * time.Second); err != nil {
		g.tb.Fatalf("start: %v; its log:\n%s", err, tail(g.log(), 20))
	}
	return time.Since(began)
}

// awaitReady returns once /readyz says yes, or an error when the process ends
// or the time is up.
func (g *gateway) awaitReady(within time.Duration) error {
	deadline := time.After(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, _, err := g.get("/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-g.done:
			return fmt.Errorf("it ended with %v", g.cmd.ProcessState)
		case <-deadline:
			return fmt.Errorf("not ready after %v", within)
		case <-tick.C:
		}
	}
}

// get asks the admin port.
func (g *gateway) get(path string) (status int, body string, err error) {
	tr := &http.Transport{DisableKeepAlives: true}
	c := http.Client{Transport: tr, Timeout: 5 * time.Second}
	res, err := c.Get("http://" + g.Admin + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// kill ends the process with SIGKILL: nothing of ours runs any more.
func (g *gateway) kill() { g.end(syscall.SIGKILL) }

// stop asks the process to end and returns its exit code.
func (g *gateway) stop() int { return g.end(syscall.SIGTERM) }

func (g *gateway) end(sig syscall.Signal) int {
	if g.cmd == nil {
		return -1
	}
	g.signal(sig)
	select {
	case <-g.done:
	case <-time.After(30 * time.Second):
		_ = g.cmd.Process.Kill() // fails only when it has ended
		<-g.done
		g.tb.Errorf("the gateway did not end within 30 s of %v", sig)
	}
	code := g.cmd.ProcessState.ExitCode()
	g.cmd = nil
	return code
}

// signal sends sig; a process that has ended already needs none.
func (g *gateway) signal(sig syscall.Signal) { _ = g.cmd.Process.Signal(sig) }

// ended reports whether the process has ended by itself.
func (g *gateway) ended() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// cli runs an ebbgate command beside the gateway.
func cli(tb testing.TB, dir string, args ...string) (code int, stdout, stderr string) {
	tb.Helper()
	cmd := exec.Command(binary(tb), args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	timer := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
