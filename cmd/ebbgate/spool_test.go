package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
)

// spooled is a configuration whose route's queue up/cloud/all is empty, and
// whose spool has a message in up/cloud/old.
func spooled(t *testing.T) (config string, cfg *configs.Config) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "ebbgate.yaml")
	text := "gateway: {id: gw}\nspool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\nadmin: {address: \"\"}\n" +
		"routes: {up: [{name: all, from: \"dt/#\", upstream: cloud}]}\nupstreams: {cloud: {endpoint: \"mqtt://127.0.0.1:1\"}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(config, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := openSpool(t, cfg)
	var b bridge.Batch
	b.Append(&bridge.Record{Message: bridge.Message{Topic: "dt/a", Payload: []byte("x")}, Origin: bridge.Origin{Device: "pump", ID: bridge.MessageID{7}},
		Receivers: []bridge.Receiver{{Queue: "up/cloud/old", Topic: "dt/a"}}})
	commit(t, s, &b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return config, cfg
}

// emptySpool is a spool of its own, until the test ends.
func emptySpool(t *testing.T) *spool.Spool {
	t.Helper()
	cfg := &configs.Config{Spool: spool.DefaultOptions()}
	cfg.Spool.Dir = t.TempDir()
	s := openSpool(t, cfg)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openSpool(t *testing.T, cfg *configs.Config) *spool.Spool {
	t.Helper()
	s, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(t testing.TB, s bridge.Spool, b *bridge.Batch) {
	t.Helper()
	if err := committed(s, b); err != nil {
		t.Fatal(err)
	}
}

// committed commits a batch and returns how that ends.
func committed(s bridge.Spool, b *bridge.Batch) error {
	end := make(chan error, 1)
	s.Commit(b, func(_ bridge.Seq, err error) { end <- err })
	return <-end
}

// A queue that does not exist is an error that names those that do, and not an
// empty list. The queue of a route, and that of its dead letters, may be empty.
func TestUnknownQueue(t *testing.T) {
	config, _ := spooled(t)
	run := func(args ...string) (code int, out, errs string) {
		var stdout, stderr bytes.Buffer
		code = execute(append([]string{"spool", "--config", config}, args...), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	const want = "ebbgate: there is no queue \"up/cloud/al\"; there are up/cloud/all, up/cloud/old\n"
	for _, args := range [][]string{
		{"ls", "up/cloud/al"}, {"ls", "up/cloud/al", "--json"}, {"peek", "up/cloud/al"}, {"export", "up/cloud/al"},
		{"drop", "up/cloud/al", "--yes"}, {"requeue", "up/cloud/al", "--to", "up/cloud/all"},
	} {
		if code, out, errs := run(args...); code != exitFailed || out != "" || errs != want {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
	for _, queue := range []string{"up/cloud/all", "dead/up/cloud/all"} {
		if code, out, errs := run("ls", queue); code != exitOK || !strings.HasPrefix(out, "QUEUE ") || errs != "" {
			t.Errorf("%s: exit %d, %q, %q", queue, code, out, errs)
		}
	}
	if code, out, _ := run("ls", "up/cloud/old"); code != exitOK || !strings.Contains(out, "pump") {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, out, _ := run("export"); code != exitOK || strings.Count(out, "\n") != 1 {
		t.Errorf("all queues: exit %d, %q", code, out)
	}
}

// A running gateway answers the same.
func TestUnknownQueueOfARunningGateway(t *testing.T) {
	_, cfg := spooled(t)
	g := &gateway{cfg: cfg, spool: openSpool(t, cfg)}
	defer func() {
		if err := g.spool.Close(); err != nil {
			t.Error(err)
		}
	}()
	server := httptest.NewServer(spoolHandler{g})
	defer server.Close()
	lines := 0
	each := func(spoolLine) error { lines++; return nil }
	address := server.Listener.Addr().String()
	err := askSpool(t.Context(), address, spoolRequest{Op: "list", Queue: "down/x/y"}, each)
	if want := `there is no queue "down/x/y"; there are up/cloud/all, up/cloud/old`; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := askSpool(t.Context(), address, spoolRequest{Op: "list", Queue: "up/cloud/old"}, each); err != nil || lines != 1 {
		t.Errorf("%d lines, %v", lines, err)
	}
}

// What is kept for devices is shown beside the queues, in words and as JSON.
func TestStatShowsTheShelf(t *testing.T) {
	config, cfg := spooled(t)
	s := openSpool(t, cfg)
	var b bridge.Batch
	b.Put(bridge.ShelfPrefix+"session", "pump", []byte("x"))
	b.Put(bridge.ShelfPrefix+"retained", "state", []byte("12345"))
	entry := make([]byte, 28) // owner, place, body, size: each big-endian
	entry[15], entry[27] = 1, 200
	b.Put(bridge.ShelfPrefix+"queue", string(entry), []byte("x"))
	commit(t, s, &b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"--json=false": "shelf: 1 sessions, for which 1 messages (200 B) wait; 1 retained messages (5 B); 0 wills\n",
		"--json":       `{"shelf":{"sessions":1,"queued":1,"queued_bytes":200,"retained":1,"retained_bytes":5,"wills":0}}`,
	} {
		var stdout, stderr bytes.Buffer
		code := execute([]string{"spool", "stat", "--config", config, flag}, &stdout, &stderr)
		if text := stdout.String() + stderr.String(); code != exitOK || !strings.Contains(text, want) || !strings.Contains(text, "up/cloud/old") {
			t.Errorf("%s: exit %d, %s", flag, code, text)
		}
	}
}
