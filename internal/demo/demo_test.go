package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestResultHasTheFieldsOfTheContract(t *testing.T) {
	r := Result{Sent: 20000, SpooledAtKill: []int64{}, Outage: seconds(10001 * time.Millisecond), CostUSD: "0.024000"}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"sent":20000,"acked":0,"delivered":0,"lost":0,"duplicates":0,"out_of_order":0,"spooled_at_kill":[],` +
		`"peak_spool_messages":0,"outage_seconds":10.001,"drain_seconds":0.000,"units":0,"uncertain_units":0,"cost_usd":0.024000}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestOnlyNothingLostAndInOrderIsOK(t *testing.T) {
	for _, c := range []struct {
		r    Result
		want bool
	}{{Result{}, true}, {Result{Duplicates: 5}, true}, {Result{Lost: 1}, false}, {Result{OutOfOrder: 1}, false}} {
		if c.r.OK() != c.want {
			t.Errorf("%+v: %v", c.r, !c.want)
		}
	}
}

func TestFarewellTellsSpooledFromLost(t *testing.T) {
	var b bytes.Buffer
	Farewell{Acked: 1500, Arrived: 1200, Spooled: 300}.Print(&b)
	if s := b.String(); !strings.Contains(s, "still in the spool           300") || !strings.Contains(s, "lost                         0") {
		t.Error(s)
	}
}

func TestChildIsKilledAndStartedAgain(t *testing.T) {
	mosquitto := peers.Need(t, "mosquitto")
	c, err := newMosquitto(t.TempDir(), "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if c.program != mosquitto {
		t.Errorf("found %s, want %s", c.program, mosquitto)
	}
	t.Cleanup(func() { _ = c.close(true) })
	for range 2 {
		if _, err := c.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !c.alive() {
			t.Error("not alive after start")
		}
		c.kill()
		if c.alive() {
			t.Error("alive after kill")
		}
	}
	if _, err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.stop()
	if conn, err := net.Dial("tcp", c.listen); err == nil {
		_ = conn.Close()
		t.Error("something listens after stop")
	}
}

func TestChildThatCannotStartShowsItsLog(t *testing.T) {
	dir := t.TempDir()
	c := &child{name: "sh", space: &workspace{dir: dir}, listen: "127.0.0.1:1", program: "/bin/sh", args: []string{"-c", "echo no such luck; exit 3"}}
	_, err := c.start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such luck") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	if err := c.close(false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "log")); err != nil {
		t.Error("a folder that is not ours was removed")
	}
}

func TestChildThatIgnoresTheSignalIsKilled(t *testing.T) {
	p, err := startProcess(io.Discard, "/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.01; done")
	if err != nil {
		t.Fatal(err)
	}
	p.stop(100 * time.Millisecond)
	if p.running() {
		t.Error("still running")
	}
	if err := syscall.Kill(p.pid(), 0); err == nil {
		t.Error("the process is still there")
	}
}

func TestTemporaryFolderIsRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w, err := newWorkspace("", "gateway")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.write("policies/devices.json", gatewayPolicy); err != nil {
		t.Fatal(err)
	}
	if err := w.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.dir); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

func TestScriptRefusesPlansThatProveNothing(t *testing.T) {
	for _, p := range []Plan{{}, {Devices: 20, Messages: 100}, {Devices: 3, Messages: 1000}} {
		if _, err := Script(context.Background(), Setup{}, p, io.Discard); err == nil {
			t.Errorf("%+v accepted", p)
		}
	}
}

func TestFreeAddrTakesAnotherPortWhenTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err := freeAddr(l.Addr().String())
	if err != nil || got == l.Addr().String() {
		t.Errorf("%s, %v", got, err)
	}
}
