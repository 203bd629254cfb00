package scenario

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// The exit codes, as "ebbgate --help" documents them.
const (
	exitOK      = 0
	exitFailed  = 1
	exitInvalid = 2
	exitTaken   = 3
	exitRefused = 4
)

// TestMistakes makes the mistakes that people make. Each is answered by one
// line that names what is wrong, where, and what to do, and by the exit code
// that the help text documents. "edit" changes a configuration that is right.
func TestMistakes(t *testing.T) {
	for _, m := range []struct {
		name string
		edit func(text string) string
		file map[string]string // other files to write
		code int
		say  []string // parts of the line
	}{
		{
			name: "unknown key", code: exitInvalid,
			edit: replace("durability:", "durabilty:"),
			say:  []string{"ebbgate.yaml:5", "spool.durabilty", "durability"},
		},
		{
			name: "wrong unit", code: exitInvalid,
			edit: replace("hold_timeout: 2s", "hold_timeout: 2"),
			say:  []string{"listeners[0].hold_timeout", "2s"},
		},
		{
			name: "missing certificate", code: exitInvalid,
			edit: replace("type: mqtt\n", "type: mqtt\n    tls: {ca: no-such-ca.pem}\n"),
			say:  []string{"upstreams.cloud.tls.ca", "no-such-ca.pem"},
		},
		{
			name: "policy that does not parse", code: exitInvalid,
			file: map[string]string{"policies/fleet.json": `{"Version": "2012-10-17", "Statement": [{"Effect": "Alow", "Action": "iot:Connect", "Resource": "*"}]}`},
			say:  []string{"fleet.json:1:52", "Effect", `"Allow"`},
		},
		{
			name: "policy that is no JSON", code: exitInvalid,
			file: map[string]string{"policies/fleet.json": "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [}\n"},
			say:  []string{"fleet.json"},
		},
		{
			name: "broken route template", code: exitInvalid,
			edit: replace(`topic: "${topic}"`, `topic: "${topc}"`),
			say:  []string{"routes.up[0].topic", "topc", "${topic}"},
		},
		{
			name: "overlapping filters", code: exitInvalid,
			edit: replace("routes:\n", "routes:\n  down:\n    - {name: echo, upstream: cloud, from: \"dt/+/echo\"}\n"),
			say:  []string{"routes", "dt/"},
		},
		{
			name: "route to nowhere", code: exitInvalid,
			edit: replace("upstream: cloud,", "upstream: clod,"),
			say:  []string{"routes.up[0].upstream", "clod", "cloud"},
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			g := newGateway(t, site{Endpoint: "mqtts://127.0.0.1:1"})
			if m.edit != nil {
				g.edit(m.edit)
			}
			for name, text := range m.file {
				g.write(name, text)
			}
			for _, args := range [][]string{{"config", "check", g.configFile()}, {"run", "--config", g.configFile()}} {
				code, _, errs := cli(t, g.dir, args...)
				expectLine(t, args, code, errs, m.code, m.say)
			}
		})
	}
}

// TestPortInUse starts a gateway whose port another program has.
func TestPortInUse(t *testing.T) {
	g := newGateway(t, site{Endpoint: "mqtt://127.0.0.1:1"})
	l, err := net.Listen("tcp", g.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	args := []string{"run", "--config", g.configFile()}
	code, _, errs := cli(t, g.dir, args...)
	expectLine(t, args, code, errs, exitTaken, []string{g.Listen, "in use", "lan"})
}

// TestSpoolHeld starts a second gateway on the first one's spool.
func TestSpoolHeld(t *testing.T) {
	first := newGateway(t, site{Endpoint: "mqtt://127.0.0.1:1"})
	first.start()
	second := newGateway(t, site{Data: first.Data, Endpoint: "mqtt://127.0.0.1:1"})
	args := []string{"run", "--config", second.configFile()}
	code, _, errs := cli(t, second.dir, args...)
	expectLine(t, args, code, errs, exitTaken, []string{first.Data, "another gateway", "spool.dir"})
	if first.ended() {
		t.Error("the first gateway ended")
	}
}

// TestLoginRefused checks a configuration whose password the broker refuses.
// The running gateway goes on trying, since it may be put right at the broker,
// and raises a warning.
func TestLoginRefused(t *testing.T) {
	broker := peers.Mosquitto(t, peers.MosquittoOptions{Users: map[string]string{"site": "right"}})
	g := newGateway(t, site{Endpoint: "mqtt://" + broker.Addr})
	g.edit(replace("type: mqtt\n", "type: mqtt\n    username: site\n    password: wrong\n"))
	args := []string{"config", "check", "--connect", g.configFile()}
	code, out, errs := cli(t, g.dir, args...)
	expectLine(t, args, code, errs, exitRefused, []string{"cloud", "refused", "username", "password"})
	if strings.Contains(out+errs, "wrong") {
		t.Error("the password is shown")
	}

	g.start()
	warned := func() bool {
		_, body, err := g.get("/api/v1/status")
		return err == nil && strings.Contains(body, "uplink-refused")
	}
	if !until(10*time.Second, warned) {
		t.Error("the running gateway raises no warning")
	}
	if g.ended() {
		t.Error("the running gateway ended")
	}
}

// expectLine checks an answer: the code, and one line that says all of it.
func expectLine(t *testing.T, args []string, code int, stderr string, want int, say []string) {
	t.Helper()
	if code != want {
		t.Errorf("%v ended with %d, want %d", args[:2], code, want)
	}
	var lines []string
	for l := range strings.Lines(stderr) {
		summary := strings.Contains(l, " is not valid: 1 problem") // of config check
		if !summary && !strings.HasPrefix(l, "time=") {            // nor the log's
			lines = append(lines, l)
		}
	}
	if len(lines) != 1 {
		t.Fatalf("%v said %d lines, want 1:\n%s", args[:2], len(lines), stderr)
	}
	for _, s := range say {
		if !strings.Contains(lines[0], s) {
			t.Errorf("%v does not say %q:\n%s", args[:2], s, lines[0])
		}
	}
	if len(lines[0]) > 500 {
		t.Errorf("%v says %d bytes:\n%s", args[:2], len(lines[0]), lines[0])
	}
}

// edit changes the configuration file.
func (g *gateway) edit(fn func(string) string) {
	g.tb.Helper()
	text, err := os.ReadFile(g.configFile())
	if err != nil {
		g.tb.Fatal(err)
	}
	changed := fn(string(text))
	if changed == string(text) {
		g.tb.Fatal("the edit changed nothing")
	}
	g.write("ebbgate.yaml", changed)
}

func replace(what, with string) func(string) string {
	return func(s string) string { return strings.Replace(s, what, with, 1) }
}
