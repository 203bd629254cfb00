package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// longest is how long a client may run.
const longest = 10 * time.Minute

// NodeClient is one of the programs in the folders node and programs: a client
// library, mostly for JavaScript, that acts as a device.
type NodeClient struct {
	tb    testing.TB
	stdin io.Writer
	lines *bufio.Scanner
	cmd   *exec.Cmd
}

// NodeOptions are what it does: it connects, subscribes to Topic/#, publishes
// and receives Messages, asks for a publish to Denied, comes back with a session
// that is kept, goes, and when told to [NodeClient.Proceed] resumes it and
// receives what waits.
type NodeOptions struct {
	Version  int    `json:"version"` // of MQTT: 3 or 5
	URL      string `json:"url"`     // for MQTT.js
	Host     string `json:"host"`    // for AWS's
	Port     int    `json:"port"`
	CA       string `json:"ca,omitempty"`
	Cert     string `json:"cert,omitempty"`
	Key      string `json:"key,omitempty"`
	Client   string `json:"client"`
	Topic    string `json:"topic"`
	QoS      byte   `json:"qos"`
	Messages int    `json:"messages"`
	Denied   string `json:"denied,omitempty"`
	Queued   int    `json:"queued"` // messages that wait when it comes back

	File    string `json:"file,omitempty"`    // for mqttjsfile: what it sends
	Segment int    `json:"segment,omitempty"` // bytes at a time
}

// NodeMessage is a message as the client saw it.
type NodeMessage struct {
	Topic, Text                             string
	QoS                                     byte
	ContentType, ResponseTopic, Correlation string
	User                                    []string
}

// NodeStep is what the client tells.
type NodeStep struct {
	Step       string
	Text       string // of an error
	Present    bool
	Properties map[string]any // of the CONNACK, in the library's spelling
	Granted    []int
	Messages   []NodeMessage
	Code       int
}

// Node starts a program, without its ".cjs". Its modules are where `make peers`
// puts them; the test skips, or fails, without them.
func Node(tb testing.TB, program string, o NodeOptions) *NodeClient {
	tb.Helper()
	node := Need(tb, "node")
	_, here, _, _ := runtime.Caller(0)
	here = filepath.Dir(here)
	modules := filepath.Join(here, "..", "..", "bin", "node", "node_modules")
	if _, err := os.Stat(modules); err != nil {
		Missing(tb, "the modules of internal/peers/node, see make peers")
	}
	return start(tb, o, []string{"NODE_PATH=" + modules}, node, filepath.Join(here, "node", program+".cjs"))
}

// Go builds and starts a program of the folder programs, which tells what a
// NodeClient tells. It is built without the race detector: the races of other
// people's libraries are not ours.
func Go(tb testing.TB, program string, o NodeOptions) *NodeClient {
	tb.Helper()
	bin := filepath.Join(tb.TempDir(), program)
	build := exec.Command("go", "build", "-o", bin, "github.com/ebbgate/ebbgate/internal/peers/programs/"+program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", program, err, out)
	}
	return start(tb, o, nil, bin)
}

// start starts a program whose last argument is what it does.
func start(tb testing.TB, o NodeOptions, env []string, name string, args ...string) *NodeClient {
	tb.Helper()
	arg, err := json.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	tb.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, append(args, string(arg))...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = tb.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	n := &NodeClient{tb: tb, stdin: stdin, lines: bufio.NewScanner(stdout), cmd: cmd}
	n.lines.Buffer(nil, 4<<20)
	tb.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // its end is asked for in End
	})
	return n
}

// Step waits for what the client tells next, which must be about step.
func (n *NodeClient) Step(step string) NodeStep {
	n.tb.Helper()
	var s NodeStep
	if !n.lines.Scan() {
		n.tb.Fatalf("the client ended before %q", step)
	}
	if err := json.Unmarshal(n.lines.Bytes(), &s); err != nil {
		n.tb.Fatalf("the client told %q: %v", n.lines.Text(), err)
	}
	if s.Step != step {
		n.tb.Fatalf("the client told %q %s, want %q", s.Step, s.Text, step)
	}
	return s
}

// Proceed lets the client go on.
func (n *NodeClient) Proceed() {
	n.tb.Helper()
	if _, err := io.WriteString(n.stdin, "\n"); err != nil {
		n.lines.Scan()
		n.tb.Fatalf("the client ended: %v; it told %q", err, n.lines.Text())
	}
}

// End waits for the client's end, which must be a good one.
func (n *NodeClient) End() {
	n.tb.Helper()
	if n.lines.Scan() {
		n.tb.Fatalf("the client told %q after its end", n.lines.Text())
	}
	if err := n.cmd.Wait(); err != nil {
		n.tb.Fatalf("the client ended badly: %v", err)
	}
}
