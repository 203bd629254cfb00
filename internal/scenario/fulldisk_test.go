package scenario

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// disks are the file systems that a scenario of a full disk runs on: a tmpfs
// fails a write to a mapped file at once, ext4 when it is written back.
var disks = []struct {
	name string
	make func(testing.TB, int64) *disk
}{{"tmpfs", tmpfs}, {"ext4", ext4}}

const diskSize = 320 << 20

// TestDiskFullOfMessages fills the disk with messages while the cloud is away.
// Intake stops before the disk does, with back-pressure; the gateway stays up;
// when the cloud is back, everything acknowledged arrives, intake goes on by
// itself and the disk is given back.
func TestDiskFullOfMessages(t *testing.T) {
	t.Parallel()
	for _, fs := range disks {
		t.Run(fs.name, func(t *testing.T) {
			s := newFullDisk(t, fs.make(t, diskSize))
			empty := s.disk.free()
			s.fleet.start(t, s.gateway.Listen)
			s.backPressure(t)
			if free := s.disk.free(); free < 16<<20 {
				t.Errorf("only %d bytes are free: intake stopped too late", free)
			}
			if _, status, _ := s.gateway.get("/api/v1/status"); !strings.Contains(status, "spool-full") {
				t.Errorf("no warning tells of it: %s", status)
			}
			if s.restarts > 0 {
				t.Errorf("the gateway ended %d times", s.restarts)
			}
			s.recovery(t)
			s.nothingLost(t)
			if !until(60*time.Second, func() bool { return s.disk.free() > empty-64<<20 }) {
				t.Errorf("%d bytes are not given back", empty-s.disk.free())
			}
		})
	}
}

// TestDiskFullOfSomethingElse lets another program take the last byte, under
// load. The gateway may end once, as when the service manager restarts it; it
// drains although the disk is still full, loses nothing, and takes messages
// again when there is space.
func TestDiskFullOfSomethingElse(t *testing.T) {
	t.Parallel()
	for _, fs := range disks {
		t.Run(fs.name, func(t *testing.T) {
			s := newFullDisk(t, fs.make(t, diskSize))
			s.fleet.start(t, s.gateway.Listen)
			if !until(30*time.Second, func() bool { return s.fleet.acked.Len() > 1000 }) {
				t.Fatalf("only %d messages acknowledged", s.fleet.acked.Len())
			}
			s.disk.fill()
			s.backPressure(t)

			before := s.fleet.acked.Len()
			s.proxy.Restore()
			if !until(60*time.Second, func() bool { s.keepUp(t); return s.consumer.arrived.Len() >= before }) {
				t.Errorf("with a full disk %d of %d messages arrived", s.consumer.arrived.Len(), before)
			}
			s.disk.unfill()
			s.recovery(t)
			s.nothingLost(t)
			if s.restarts > 1 {
				t.Errorf("the gateway ended %d times, at most once is allowed", s.restarts)
			}
		})
	}
}

// fullDisk is a gateway whose cloud is away and whose disk is small.
type fullDisk struct {
	disk     *disk
	gateway  *gateway
	fleet    *fleet
	proxy    *peers.Proxy
	consumer *cloud
	restarts int
}

func newFullDisk(t *testing.T, d *disk) *fullDisk {
	t.Helper()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	s := &fullDisk{disk: d, proxy: peers.NewProxy(t, broker.Addr), consumer: watch(t, broker.Addr)}
	s.proxy.Cut()
	s.gateway = newGateway(t, site{Data: d.Dir + "/data", Endpoint: "mqtt://" + s.proxy.Addr})
	s.gateway.write("policies/fleet.json", openPolicy)
	s.gateway.start()
	goAway(t, s.gateway)
	s.fleet = &fleet{devices: 10, window: 10, size: 8 << 10}
	return s
}

// keepUp does what a service manager does.
func (s *fullDisk) keepUp(t *testing.T) {
	t.Helper()
	if s.gateway.ended() {
		s.restarts++
		t.Logf("the gateway ended with %v, %d bytes are free; its first words:\n%s", s.gateway.cmd.ProcessState, s.disk.free(), lastWords(s.gateway.log()))
		if s.restarts > 20 {
			t.Fatal("it ends again and again")
		}
		s.gateway.launch()
	}
}

// backPressure waits until nothing has been acknowledged for three seconds, for
// want of space and not because a sync takes long.
func (s *fullDisk) backPressure(t *testing.T) {
	t.Helper()
	last, since := int64(-1), time.Now()
	quiet := until(2*time.Minute, func() bool {
		s.keepUp(t)
		if n := s.fleet.acked.Len(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 3*time.Second && s.disk.free() < 128<<20
	})
	if !quiet {
		t.Fatal("the gateway takes messages for ever")
	}
	t.Logf("back-pressure after %d messages, %d bytes free", last, s.disk.free())
}

// recovery brings the cloud back and waits until intake goes on.
func (s *fullDisk) recovery(t *testing.T) {
	t.Helper()
	before := s.fleet.acked.Len()
	s.proxy.Restore()
	began := time.Now()
	if !until(60*time.Second, func() bool { s.keepUp(t); return s.fleet.acked.Len() > before+100 }) {
		t.Fatalf("intake did not recover; the log:\n%s", tail(s.gateway.log(), 20))
	}
	t.Logf("intake recovered within %v", time.Since(began).Round(time.Millisecond))
}

func (s *fullDisk) nothingLost(t *testing.T) {
	t.Helper()
	s.fleet.stop()
	awayHasAll(t, s.gateway, &s.fleet.acked)
	d := s.consumer.await(&s.fleet.acked, 15*time.Second)
	if d.Lost > 0 {
		t.Errorf("%d of %d acknowledged messages are lost, such as %v", d.Lost, s.fleet.acked.Len(), d.Sample)
	}
	if n := s.consumer.late.Load(); n > 0 {
		t.Errorf("%d messages arrived out of order", n)
	}
	t.Logf("%d acknowledged, %d arrived, %d duplicates", s.fleet.acked.Len(), s.consumer.arrived.Len(), s.consumer.duplicates.Load())
}

// fill writes a file of another program until the disk has not a byte left.
func (d *disk) fill() {
	d.tb.Helper()
	f, err := os.CreateTemp(d.Dir, "foreign-")
	if errors.Is(err, syscall.ENOSPC) {
		return
	}
	if err != nil {
		d.tb.Fatal(err)
	}
	defer f.Close()
	for block := 1 << 20; block > 0; {
		_, err := f.Write(make([]byte, block))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			block /= 2
		case err != nil:
			d.tb.Fatal(err)
		}
	}
	_ = f.Sync() // delayed allocation: the space is to be gone now
}

// unfill removes what fill wrote.
func (d *disk) unfill() {
	d.tb.Helper()
	files, err := filepath.Glob(filepath.Join(d.Dir, "foreign-*"))
	if err != nil {
		d.tb.Fatal(err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			d.tb.Fatal(err)
		}
	}
}

// lastWords is what a process said when it crashed: the beginning of its last
// dump.
func lastWords(log string) string {
	for _, mark := range []string{"\nunexpected fault", "\nfatal error", "\npanic:", "\nebbgate:"} {
		if i := strings.LastIndex(log, mark); i >= 0 {
			lines := strings.Split(log[i+1:], "\n")
			return strings.Join(lines[:min(len(lines), 24)], "\n")
		}
	}
	return tail(log, 5)
}
