package scenario

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// fullOfFiles is a gateway whose store is away and whose disk is small, with devices
// of MQTT 5 that send one file after the other.
type fullOfFiles struct {
	*fullDisk
	store *peers.Store

	mu      sync.Mutex
	wanted  map[string][sha256.Size]byte // the files whose fin was acknowledged
	acked   int                          // segments
	codes   map[byte]int                 // of PUBACKs that were refusals
	words   map[string]int               // of responses that were refusals
	stopped bool
	devices sync.WaitGroup
}

// filesHeadroom is what the files leave free of diskSize.
const filesHeadroom = 240 << 20

func newFullOfFiles(t *testing.T, d *disk) *fullOfFiles {
	t.Helper()
	s := &fullOfFiles{fullDisk: &fullDisk{disk: d}, store: peers.NewStore(t, filmBucket), wanted: map[string][sha256.Size]byte{}, codes: map[byte]int{}, words: map[string]int{}}
	s.proxy = peers.NewProxy(t, s.store.Addr)
	s.proxy.BlackHole() // not a word: whoever waits for it goes on when it is back
	s.gateway = newGateway(t, site{Data: d.Dir + "/data", Endpoint: "mqtt://127.0.0.1:1", Set: append(exportsToS3("http://"+s.proxy.Addr),
		"file_transfer.enabled=true", fmt.Sprintf("file_transfer.headroom=%dB", filesHeadroom))})
	s.gateway.write("policies/fleet.json", openPolicy)
	s.gateway.start()
	chance := dice(t)
	for i := range 4 {
		id, own := fmt.Sprintf("camera-%d", i), rand.New(rand.NewPCG(chance.Uint64(), 0))
		s.devices.Go(func() { s.device(t, id, own) })
	}
	t.Cleanup(s.stop)
	return s
}

// stop has the devices end with the file that they are sending.
func (s *fullOfFiles) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.devices.Wait()
}

func (s *fullOfFiles) counts() (acked, refused, files int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.codes {
		refused += n
	}
	return s.acked, refused, len(s.wanted)
}

// device sends files until it is told to stop.
func (s *fullOfFiles) device(t *testing.T, id string, chance *rand.Rand) {
	d := &cameraV5{t: t, s: s, id: id}
	defer d.leave()
	for n := 0; ; n++ {
		s.mu.Lock()
		stopped := s.stopped
		s.mu.Unlock()
		if stopped {
			return
		}
		content := noise(2<<20+chance.IntN(4<<20), chance)
		sum, file := sha256.Sum256(content), "$file/f"+strconv.Itoa(n)+"/"
		sent := d.command(file+"init", []byte(`{"name":"film.bin"}`))
		for at := 0; sent && at < len(content); at += 256 << 10 {
			if sent = d.command(file+strconv.Itoa(at), content[at:min(at+256<<10, len(content))]); sent {
				s.mu.Lock()
				s.acked++
				s.mu.Unlock()
			}
		}
		if !sent || !d.command(fmt.Sprintf("%sfin/%d/%x", file, len(content), sum), nil) {
			return
		}
		s.mu.Lock()
		s.wanted[filepath.Join(id, "f"+strconv.Itoa(n), "film.bin")] = sum
		s.mu.Unlock()
	}
}

// cameraV5 is a device that does what it is told: it waits where it is told to wait,
// and comes again when its connection ends.
type cameraV5 struct {
	t  *testing.T
	s  *fullOfFiles
	id string
	c  *paho.Client
}

// command publishes until it is acknowledged, and gives up after two minutes.
func (d *cameraV5) command(topic string, payload []byte) bool {
	return until(2*time.Minute, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if d.c == nil && !d.come(ctx) {
			return false
		}
		ack, err := d.c.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: payload})
		if err == nil {
			return true
		}
		if ack == nil || ack.ReasonCode < 0x80 { // the connection has ended
			d.leave()
			return false
		}
		d.s.mu.Lock()
		d.s.codes[ack.ReasonCode]++
		d.s.mu.Unlock()
		return false
	})
}

func (d *cameraV5) come(ctx context.Context) bool {
	conn, err := net.Dial("tcp", d.s.gateway.Listen)
	if err != nil {
		return false
	}
	c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){d.answered}})
	if _, err = c.Connect(ctx, &paho.Connect{ClientID: d.id, CleanStart: true, KeepAlive: 60}); err != nil {
		_ = conn.Close() // it comes again
		return false
	}
	if _, err = c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "$file-response/" + d.id, QoS: 1}}}); err != nil {
		_ = conn.Close() // it comes again
		return false
	}
	d.c = c
	return true
}

// answered takes a response message.
func (d *cameraV5) answered(p paho.PublishReceived) (bool, error) {
	var said struct {
		Code int    `json:"reason_code"`
		Word string `json:"reason_description"`
	}
	if err := json.Unmarshal(p.Packet.Payload, &said); err == nil && said.Code != 0 {
		d.s.mu.Lock()
		d.s.words[said.Word]++
		d.s.mu.Unlock()
	}
	return true, nil
}

func (d *cameraV5) leave() {
	if d.c != nil {
		_ = d.c.Disconnect(&paho.Disconnect{}) // it may have ended
		d.c = nil
	}
}

// full waits until segments are refused and none is taken.
func (s *fullOfFiles) full(t *testing.T) {
	t.Helper()
	last, since := -1, time.Now()
	if !until(2*time.Minute, func() bool {
		s.keepUp(t)
		acked, refused, _ := s.counts()
		if acked != last {
			last, since = acked, time.Now()
		}
		return refused > 0 && time.Since(since) > time.Second
	}) {
		acked, refused, _ := s.counts()
		t.Fatalf("%d segments are taken, %d refused, %d bytes free", acked, refused, s.disk.free())
	}
	t.Logf("full after %d segments, %d bytes free", last, s.disk.free())
}

// expectAll waits until devices go on, and until every file that was acknowledged is
// at the store as it was sent; each refusal asked to wait, for want of space.
func (s *fullOfFiles) expectAll(t *testing.T) {
	t.Helper()
	before, _, _ := s.counts()
	if !until(time.Minute, func() bool {
		s.keepUp(t)
		acked, _, _ := s.counts()
		return acked > before+20
	}) {
		t.Fatalf("segments are not taken again; the log:\n%s", tail(s.gateway.log(), 20))
	}
	s.stop()
	s.gateway.awaitSaid(t, "there is space again", func(said said) bool { return !said.warns("files-full") })
	s.mu.Lock()
	defer s.mu.Unlock()
	for place, sum := range s.wanted {
		var got []byte
		if !until(time.Minute, func() (ok bool) {
			var err error
			got, err = os.ReadFile(filepath.Join(s.store.Dir, filmBucket, place))
			return err == nil
		}) {
			t.Errorf("%s was acknowledged and does not arrive", place)
		} else if sha256.Sum256(got) != sum {
			t.Errorf("%s: %d bytes that are not those that were sent", place, len(got))
		}
	}
	for code, n := range s.codes {
		if code != 0x97 {
			t.Errorf("%d refusals with %#x, want 0x97", n, code)
		}
	}
	for word, n := range s.words {
		if word != "enospc" && (word != "eagain" || s.restarts == 0) {
			t.Errorf("%d refusals say %s, want enospc", n, word)
		}
	}
	t.Logf("%d files, %d segments; refused with %v, %v; the gateway ended %d times", len(s.wanted), s.acked, s.codes, s.words, s.restarts)
}

// fullDisks are the file systems of these tests.
func fullDisks() []int { return scaled([]int{0, 1}, []int{0}) }

// TestDiskFullOfFiles fills the disk with files while their store is away. Segments
// are refused with 0x97 and enospc while there is still room for messages, which are
// taken as ever; when the store is back files go on by themselves, and what was
// acknowledged arrives (F49, F52).
func TestDiskFullOfFiles(t *testing.T) {
	t.Parallel()
	for _, i := range fullDisks() {
		t.Run(disks[i].name, func(t *testing.T) {
			s := newFullOfFiles(t, disks[i].make(t, diskSize))
			s.full(t)
			if free := s.disk.free(); free < filesHeadroom-4<<20 {
				t.Errorf("only %d bytes are free: files were refused too late", free)
			}
			s.gateway.awaitSaid(t, "the disk is full", func(said said) bool { return said.warns("files-full") })
			c := join(t, s.gateway.Listen, "pump", true)
			for n := range 100 {
				if err := (&filmUpload{}).one(c, "dt/pump", []byte(strconv.Itoa(n))); err != nil {
					t.Fatalf("message %d beside files: %v", n, err)
				}
			}
			s.proxy.Restore()
			s.expectAll(t)
			if s.restarts > 0 || strings.Contains(s.gateway.log(), "panic") {
				t.Errorf("the gateway ended %d times", s.restarts)
			}
		})
	}
}

// TestDiskFullBesideFiles lets another program take the last byte while files come.
// They are refused until it gives the space back; the gateway may end once, as with
// messages, and what was acknowledged arrives.
func TestDiskFullBesideFiles(t *testing.T) {
	t.Parallel()
	for _, i := range fullDisks() {
		t.Run(disks[i].name, func(t *testing.T) {
			s := newFullOfFiles(t, disks[i].make(t, diskSize))
			if !until(30*time.Second, func() bool { acked, _, _ := s.counts(); return acked > 40 }) {
				t.Fatal("no segments are taken")
			}
			s.disk.fill()
			s.full(t)
			s.proxy.Restore()
			s.disk.unfill()
			s.expectAll(t)
			if s.restarts > 1 {
				t.Errorf("the gateway ended %d times, at most once is allowed", s.restarts)
			}
		})
	}
}
