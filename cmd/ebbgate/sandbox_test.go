package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/sandbox"
)

func TestSandboxCommand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out lockedBuffer
	cmd := newSandboxCommand()
	cmd.SetArgs([]string{"--anonymous", "--no-limits", "--control", "127.0.0.1:0"})
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	addresses := regexp.MustCompile(`mqtt://(\S+)\n(http://\S+)\n`)
	var found []string
	for deadline := time.Now().Add(10 * time.Second); len(found) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no addresses:\n%s", out.String())
		}
		found = addresses.FindStringSubmatch(out.String())
	}
	fleet, err := devices.New(devices.Options{Address: found[1], Count: 2, Messages: 100, Window: 10, Payload: 100})
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- fleet.Run(ctx) }()
	select {
	case <-fleet.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("%+v", fleet.Stats())
	}
	resp, err := http.Get(found[2] + "/report")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r sandbox.Report
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || r.Distinct != 200 || r.Units != 200 {
		t.Errorf("%+v, %v", r, err)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
}

func TestSandboxIsForThisMachineOnly(t *testing.T) {
	for _, flag := range []string{"--listen", "--control"} {
		var stdout, stderr bytes.Buffer
		if code := execute([]string{"sandbox", "--anonymous", flag, "0.0.0.0:0"}, &stdout, &stderr); code != exitInvalid {
			t.Errorf("%s: exit %d: %s", flag, code, stderr.String())
		}
	}
}
