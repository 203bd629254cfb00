package delivery

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// echo is a cloud with one stream of one file, whose answers come at once.
type echo struct {
	client *Client
	file   []byte
	gets   int
}

func (e *echo) Up() bool { return true }

// Publish implements Transport.
func (e *echo) Publish(m *bridge.Message) error {
	var q struct {
		C       string `json:"c"`
		O, L, F int
	}
	if err := json.Unmarshal(m.Payload, &q); err != nil {
		return err
	}
	answer := map[string]any{"c": q.C}
	topic := strings.Replace(m.Topic, "/get/", "/data/", 1)
	if topic == m.Topic {
		topic = strings.Replace(m.Topic, "/describe/", "/description/", 1)
		answer["s"], answer["r"] = 1, []any{map[string]any{"f": 0, "z": len(e.file)}}
	} else {
		e.gets++
		part := e.file[q.O*q.L : min((q.O+1)*q.L, len(e.file))]
		answer["f"], answer["l"], answer["i"], answer["p"] = 0, len(part), q.O, base64.StdEncoding.EncodeToString(part)
	}
	payload, err := json.Marshal(answer)
	e.client.Take(&bridge.Message{Topic: topic, Payload: payload})
	return err
}

// gatekeeper is a pace that lets nothing through while it is shut.
type gatekeeper struct{ shut atomic.Bool }

func (g *gatekeeper) Wait(ctx context.Context, _ int) error {
	if g.shut.Load() {
		return bridge.ErrHeld
	}
	return ctx.Err()
}

func (g *gatekeeper) Yields() bool { return g.shut.Load() }

// A window or a budget that is closed is as a cloud that is away: what is in the cache
// is served, and for the rest there is silence until it is open.
func TestPartsThatAreHeldBack(t *testing.T) {
	e := &echo{file: content(1, 3*chunkSize)}
	e.client = NewClient("gateway", JSON, e)
	cache := openTestCache(t, t.TempDir(), "account", 1<<20)
	c := NewCloud(DefaultOptions().Cloud, e.client, cache, new(bridge.Health), slog.New(slog.DiscardHandler))
	defer c.Close()
	gate := new(gatekeeper)
	c.Pace(gate)
	s, err := c.stream(t.Context(), "pump-7", "fw")
	if err != nil {
		t.Fatal(err)
	}
	part := func(n int64) error {
		t.Helper()
		data, err := c.chunk(t.Context(), s, &s.Files[0], n)
		if err == nil && string(data) != string(e.file[n*chunkSize:(n+1)*chunkSize]) {
			t.Errorf("another part %d", n)
		}
		return err
	}
	if err := part(0); err != nil {
		t.Fatal(err)
	}
	gate.shut.Store(true)
	if err := part(0); err != nil {
		t.Errorf("in the cache: %v", err)
	}
	if err := part(1); !errors.Is(err, errAway) || e.gets != 1 {
		t.Errorf("held back: %v, asked %d times", err, e.gets)
	}
	gate.shut.Store(false)
	if err := part(1); err != nil || e.gets != 2 {
		t.Errorf("open again: %v, asked %d times", err, e.gets)
	}
}
