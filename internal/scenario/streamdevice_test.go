package scenario

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/fxamacker/cbor/v2"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/sandbox"
)

// streamCloud is a sandbox cloud that delivers streams, behind a link that can be
// broken.
func streamCloud(t *testing.T) *sandbox.Cloud {
	t.Helper()
	c, err := sandbox.Open(sandbox.Options{NoLimits: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	peers.Run(t, c.Run)
	return c
}

// streaming is a gateway that delivers the streams of a cloud.
func streaming(t *testing.T, c *sandbox.Cloud, set ...string) *gateway {
	t.Helper()
	g := newGateway(t, site{Endpoint: "mqtt://" + c.Addr(), Set: append([]string{
		"streams.enabled=true", "streams.cloud.upstream=cloud", "streams.bytes_per_second=0", "streams.cloud.timeout=2s", "streams.cloud.recheck=1s",
	}, set...)})
	g.write("policies/fleet.json", openPolicy)
	return g
}

// streamDevice downloads as FreeRTOS's agent does: a bitmap of the blocks that it
// lacks, a few at a time, asked for again when nothing comes.
type streamDevice struct {
	t   testing.TB
	id  string
	c   mqtt.Client
	got chan streamAnswer
}

type streamAnswer struct {
	Code    string `cbor:"o"`
	File    int    `cbor:"f"`
	Length  int    `cbor:"l"`
	Number  int    `cbor:"i"`
	Payload []byte `cbor:"p"`
	Token   string `cbor:"c"`
}

func joinStreams(t testing.TB, g *gateway, id string) *streamDevice {
	t.Helper()
	d := &streamDevice{t: t, id: id, got: make(chan streamAnswer, 1000)}
	d.c = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + g.Listen).SetClientID(id).SetAutoReconnect(false))
	d.must(d.c.Connect())
	t.Cleanup(func() { d.c.Disconnect(50) })
	d.must(d.c.Subscribe("$aws/things/"+id+"/streams/#", 0, d.take))
	return d
}

func (d *streamDevice) must(tok mqtt.Token) {
	d.t.Helper()
	if !tok.WaitTimeout(30*time.Second) || tok.Error() != nil {
		d.t.Fatalf("%s: %v", d.id, tok.Error())
	}
}

func (d *streamDevice) take(_ mqtt.Client, m mqtt.Message) {
	var a streamAnswer
	if err := cbor.Unmarshal(m.Payload(), &a); err != nil {
		d.t.Errorf("%s: %s: %v", d.id, m.Topic(), err)
	}
	d.got <- a
}

func (d *streamDevice) ask(stream string, q map[string]any) {
	b, err := cbor.Marshal(q)
	if err != nil {
		d.t.Error(err)
	}
	d.c.Publish(fmt.Sprintf("$aws/things/%s/streams/%s/get/cbor", d.id, stream), 0, false, b).Wait()
}

// next waits a while for an answer; false: none came.
func (d *streamDevice) next(within time.Duration) (streamAnswer, bool) {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case a := <-d.got:
		return a, true
	case <-late.C:
		return streamAnswer{}, false
	}
}

// block asks for one block until it comes, and returns it.
func (d *streamDevice) block(stream string, size, n int) []byte {
	d.t.Helper()
	for range 30 {
		d.ask(stream, map[string]any{"f": 0, "l": size, "o": n, "n": 1})
		if a, ok := d.next(2 * time.Second); ok && a.Code == "" && a.Number == n {
			return a.Payload
		}
	}
	d.t.Fatalf("%s: block %d does not come", d.id, n)
	return nil
}

// download gets a whole file and returns its hash. half is called once, when half
// of the blocks are there.
func (d *streamDevice) download(stream string, size, block, count int, half func()) (sum [32]byte, err error) {
	total := (size + block - 1) / block
	missing := make([]byte, (total+7)/8)
	for i := range total {
		missing[i/8] |= 1 << (i % 8)
	}
	file := make([]byte, size)
	deadline := time.Now().Add(5 * time.Minute)
	for left, asked := total, 0; left > 0; asked++ {
		if time.Now().After(deadline) {
			return sum, fmt.Errorf("%s: %d of %d blocks are missing", d.id, left, total)
		}
		d.ask(stream, map[string]any{"c": fmt.Sprint(asked), "f": 0, "l": block, "o": 0, "b": missing, "n": count})
		for range min(count, left) {
			a, ok := d.next(3 * time.Second)
			if !ok {
				break
			}
			if a.Code != "" || a.Number < 0 || a.Number >= total || len(a.Payload) != a.Length {
				return sum, fmt.Errorf("%s got %s, block %d", d.id, a.Code, a.Number)
			}
			if missing[a.Number/8]&(1<<(a.Number%8)) == 0 {
				continue // it was asked for twice
			}
			copy(file[a.Number*block:], a.Payload)
			missing[a.Number/8] &^= 1 << (a.Number % 8)
			if left--; left == total/2 && half != nil {
				half()
			}
		}
	}
	return sha256.Sum256(file), nil
}

// running is an ebbgate command that runs beside a test.
type running struct{ kill func() }

func process(t testing.TB, dir string, args ...string) running {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // fails only when it has ended
		_ = cmd.Wait()         // it was killed
	})
	t.Cleanup(kill)
	return running{kill}
}
