package scenario

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// followed is an ebbgate command that goes on until it is interrupted.
type followed struct {
	tb    testing.TB
	cmd   *exec.Cmd
	lines chan string
	errs  bytes.Buffer
	end   func() int
}

func follow(tb testing.TB, args ...string) *followed {
	tb.Helper()
	c := &followed{tb: tb, cmd: exec.Command(binary(tb), args...), lines: make(chan string, 1000)}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	c.cmd.Stderr = &c.errs
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(c.lines)
		c.scan(out)
	}()
	c.end = sync.OnceValue(func() int {
		_ = c.cmd.Process.Signal(syscall.SIGINT) // fails only when it has ended
		<-done
		_ = c.cmd.Wait() // the exit code says it
		return c.cmd.ProcessState.ExitCode()
	})
	tb.Cleanup(func() { c.end() })
	return c
}

func (c *followed) scan(out io.Reader) {
	for in := bufio.NewScanner(out); in.Scan(); {
		c.lines <- in.Text()
	}
}

// expect waits for a line that holds all of the parts.
func (c *followed) expect(parts ...string) string {
	c.tb.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.tb.Fatalf("it ended without %q: %s", parts, c.errs.String())
			}
			found := true
			for _, p := range parts {
				found = found && strings.Contains(line, p)
			}
			if found {
				return line
			}
		case <-deadline:
			c.tb.Fatalf("never printed %q", parts)
		}
	}
}

// TestPolicyLogCommand: ebbgate policy log shows what was decided and why, and
// follows it.
func TestPolicyLogCommand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	g, dev, _ := changing(t)
	d := joinLAN(ctx, t, g, 5, lanOptions{id: "dev", cert: dev})
	d.publish(ctx, "dt/dev/x", 1, false, "x")
	d.publish(ctx, "denied/x", 1, false, "x")

	code, out, errs := cli(t, g.dir, "policy", "log", "--config", g.configFile())
	for _, want := range []string{"allowed dev Connect client/dev  by device[0]", "allowed dev Publish topic/dt/dev/x  by device[1]", "DENIED  dev Publish topic/denied/x\n             no statement of policy device allows iot:Publish on topic/denied/x"} {
		if !strings.Contains(out, want) {
			t.Errorf("exit %d, %s; the log lacks %q:\n%s", code, errs, want, out)
		}
	}
	log := follow(t, "policy", "log", "-f", "--denied", "--client", "dev", "--json", "--config", g.configFile())
	log.expect(`"resource":"topic/denied/x"`)
	d.publish(ctx, "dt/dev/y", 1, false, "x")
	d.publish(ctx, "denied/y", 1, false, "x")
	line := log.expect(`"resource"`)
	var entry struct {
		Resource string `json:"resource"`
		Outcome  string `json:"outcome"`
	}
	if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Resource != "topic/denied/y" || entry.Outcome != "IMPLICIT_DENY" {
		t.Errorf("next: %s, %v", line, err)
	}
	if code := log.end(); code != exitOK {
		t.Errorf("exit code %d when interrupted: %s", code, log.errs.String())
	}
	if code, _, errs := cli(t, g.dir, "policy", "log", "--bogus"); code != exitInvalid || !strings.Contains(errs, "ebbgate policy log --help") {
		t.Errorf("a wrong flag: exit %d, %s", code, errs)
	}
	g.stop()
	if code, _, errs := cli(t, g.dir, "policy", "log", "--config", g.configFile()); code != exitFailed || !strings.Contains(errs, "no gateway runs") {
		t.Errorf("without a gateway: exit %d, %s", code, errs)
	}
}

// TestPolicyDryRunCommand: ebbgate policy dry-run tells what another set would
// answer otherwise, about who is there and on live traffic, and changes nothing.
func TestPolicyDryRunCommand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	g, dev, _ := changing(t)
	candidate := filepath.Join(g.dir, "candidate")
	g.write("candidate/device.json", `{"Version": "2012-10-17", "Statement": [`+strings.Join([]string{
		statement("Allow", "iot:Connect", "client/*"),
		statement("Allow", "iot:Publish", "topic/*"),
		statement("Deny", "iot:Publish", "topic/dt/*/y"),
		statement("Allow", "iot:Subscribe", "topicfilter/cmd/*/a"),
	}, ",")+`]}`)
	g.write("candidate/admin.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}}`)
	d := joinLAN(ctx, t, g, 5, lanOptions{id: "dev", cert: dev})
	d.subscribe(ctx, "cmd/dev/a")
	d.subscribe(ctx, "cmd/dev/b")

	// Who is there.
	code, out, errs := cli(t, g.dir, "policy", "dry-run", "--policies", candidate, "--for", "0s", "--config", g.configFile())
	for _, want := range []string{
		"1× would be DENIED: dev iot:Subscribe topicfilter/cmd/dev/b", "active:    ALLOWED by device[2]", "candidate: IMPLICIT_DENY: no statement of policy device allows",
		"3 requests compared (3 of connections and subscriptions that were there), 1 answered otherwise",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("exit %d, %s; the answer lacks %q:\n%s", code, errs, want, out)
		}
	}
	// Live traffic, followed.
	run := follow(t, "policy", "dry-run", "--policies", candidate, "-f", "--config", g.configFile())
	run.expect("would be DENIED: dev iot:Subscribe")
	if code, _, errs := cli(t, g.dir, "policy", "dry-run", "--policies", candidate, "--config", g.configFile()); code == exitOK || !strings.Contains(errs, "under way already") {
		t.Errorf("a second one: exit %d, %s", code, errs)
	}
	for range 3 {
		if got := d.publish(ctx, "dt/dev/y", 1, false, "x"); got != "PUBACK 0x00" {
			t.Errorf("the candidate has decided: %s", got)
		}
		if got := d.publish(ctx, "elsewhere", 1, false, "x"); got != "PUBACK 0x87" {
			t.Errorf("the candidate has decided: %s", got)
		}
	}
	run.expect("would be DENIED: dev iot:Publish topic/dt/dev/y")
	run.expect("candidate: EXPLICIT_DENY by device[2]")
	run.expect("would be ALLOWED: dev iot:Publish topic/elsewhere")
	if code := run.end(); code != exitOK {
		t.Errorf("exit code %d when interrupted: %s", code, run.errs.String())
	}
	var rest []string
	for line := range run.lines {
		rest = append(rest, line)
	}
	if text := strings.Join(rest, "\n"); !strings.Contains(text, "requests compared (3 of connections and subscriptions that were there)") {
		t.Errorf("the last words:\n%s", text)
	}
	// A candidate that is wrong.
	g.write("candidate/device.json", `{"Version": "2012-10-17", "Statement": [{"Effect": "allow", "Action": "iot:Connect", "Resource": "*"}]}`)
	if code, _, errs := cli(t, g.dir, "policy", "dry-run", "--policies", candidate, "--config", g.configFile()); code != exitInvalid || !strings.Contains(errs, "device.json:1:") {
		t.Errorf("a candidate that is wrong: exit %d, %s", code, errs)
	}
	if code, _, errs := cli(t, g.dir, "policy", "dry-run", "--config", g.configFile()); code != exitInvalid || !strings.Contains(errs, "--policies") {
		t.Errorf("no candidate: exit %d, %s", code, errs)
	}
}
