package delivery

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// counting adds up what goes through a transport and comes back, as a plan does.
type counting struct {
	Transport
	plan Plan
}

var testMeter = Meter{
	Up:   func(m *bridge.Message) int64 { return int64(len(m.Payload)+len(m.Topic))/100 + 1 },
	Down: func(m *bridge.Message) int64 { return int64(len(m.Payload)+len(m.Topic))/1000 + 1 },
	Ack:  1,
}

func (c *counting) Publish(m *bridge.Message) error {
	c.plan.Requests++
	c.plan.Up += testMeter.Up(m)
	c.plan.Wire += wireOf(m)
	return c.Transport.Publish(m)
}

func (c *counting) heard(m *bridge.Message) {
	c.plan.Answers++
	c.plan.Up += testMeter.Ack
	c.plan.Down += testMeter.Down(m)
	c.plan.Wire += wireOf(m) + ackOnWire
}

// A plan says to the message what a download takes, and asks only what the stream is.
func TestPlanIsWhatADownloadTakes(t *testing.T) {
	for _, c := range []struct {
		size, block, blocks int
		format              Format
	}{
		{0, 4096, 4, CBOR}, {1, 256, 4, JSON}, {320_000, 256, 7, CBOR}, {320_000, 256, 512, JSON}, {320_000, 60_000, 4, CBOR}, {320_000, 128 << 10, 100, JSON},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			far := &depot{t: t, files: [2][]byte{bytes.Repeat([]byte("f"), c.size)}, blocks: 1 << 20}
			via := &counting{Transport: far}
			far.client = NewClient("pump-7", c.format, via)
			far.heard = via.heard
			d := &Download{Client: far.client, Stream: "fw", Path: filepath.Join(t.TempDir(), "fw.bin"), Block: c.block, Blocks: c.blocks, Wait: time.Hour}
			plan, err := d.Plan(t.Context(), testMeter)
			if err != nil {
				t.Fatal(err)
			}
			if via.plan.Requests != 1 || via.plan.Answers != 1 {
				t.Errorf("a plan took %d requests and %d answers", via.plan.Requests, via.plan.Answers)
			}
			via.plan = Plan{}
			far.client.last = 0 // its tokens are as short as they were
			if _, err := d.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := via.plan
			want.Stream, want.Version, want.Size, want.Block, want.Blocks = "fw", 1, int64(c.size), c.block, int64((c.size+c.block-1)/c.block)
			if *plan != want {
				t.Errorf("planned %+v, it took %+v", *plan, want)
			}
		})
	}
}

// Of a file with more blocks than a request can name nothing is planned: the error says
// which blocks would do.
func TestPlanOfTooManyBlocks(t *testing.T) {
	far := &depot{t: t, files: [2][]byte{make([]byte, (maxOffset+1)*256+1)}, blocks: 1 << 20}
	far.client = NewClient("pump-7", CBOR, far)
	plan := func(block int) (*Plan, error) {
		d := &Download{Client: far.client, Stream: "fw", Path: filepath.Join(t.TempDir(), "fw.bin"), Block: block, Blocks: 1000, Wait: time.Hour}
		return d.Plan(t.Context(), testMeter)
	}
	if p, err := plan(256); err == nil || !strings.Contains(err.Error(), "take blocks of 257 bytes at least") {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := plan(257); err != nil || p.Blocks != 97923 {
		t.Errorf("%+v, %v", p, err)
	}
}

// What a cloud says in a rejection is passed on short, and harmless to a terminal.
func TestHeard(t *testing.T) {
	for text, want := range map[string]string{
		"no such stream":               "no such stream",
		"größer":                       "größer",
		"\x1b[2Jx\a\u202e\n":           "?[2Jx???",
		strings.Repeat("ö", mostHeard): strings.Repeat("ö", mostHeard/2) + "…",
	} {
		if got := heard(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	c := NewClient("pump-7", JSON, nil)
	k := &call{done: make(chan struct{})}
	c.open[c.prefix+"1"] = k
	c.Take(&bridge.Message{Topic: "$aws/things/pump-7/streams/fw/rejected/json", Payload: []byte(`{"c":"` + c.prefix + `1","o":"Evil\u001b[31m","m":"\u001b[2J"}`)})
	if k.fault == nil || k.fault.Code != "Evil?[31m" || k.fault.Text != "?[2J" {
		t.Errorf("%+v", k.fault)
	}
}

// A plan of a stream of the cloud is of what the cache has not, and of what fits.
func TestPlanOfWhatIsMissing(t *testing.T) {
	a := newAWS(t)
	a.put("fw", 3, bytes.Repeat([]byte("f"), 5*chunkSize+10))
	c := a.site(t.TempDir())
	plan := func() *Plan {
		t.Helper()
		p, err := c.Plan(context.Background(), "fw", testMeter)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := plan(); p.Version != 3 || p.Size != 5*chunkSize+10 || p.Blocks != 6 || p.Requests != 7 || p.Answers != 7 || p.Cached != 0 {
		t.Errorf("of nothing: %+v", p)
	}
	if a.count(verbGet) != 0 {
		t.Error("a plan fetches")
	}
	c.file(t, "fw", 2)
	if p := plan(); p.Size != 3*chunkSize+10 || p.Blocks != 4 || p.Cached != 2*chunkSize {
		t.Errorf("of two chunks: %+v", p)
	}
	c.file(t, "fw", 6)
	if p := plan(); p.Size != 0 || p.Blocks != 0 || p.Cached != 5*chunkSize+10 {
		t.Errorf("of all: %+v", p)
	}
	if _, err := c.Plan(context.Background(), "nothing", testMeter); err == nil {
		t.Error("a plan of what is not there")
	}
	c.cache.max = 3 * (chunkSize + 4)
	a.put("large", 1, bytes.Repeat([]byte("l"), 10*chunkSize))
	if p, err := c.Plan(context.Background(), "large", testMeter); err != nil || p.Blocks != 3 {
		t.Errorf("of more than fits: %+v, %v", p, err)
	}
}
