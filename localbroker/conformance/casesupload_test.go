package conformance

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// responses is before the client id in the topic of responses.
const responses = "$file-response/"

// uploadBed is a depot with the devices of a case.
type uploadBed struct {
	*depot
	*caseDesk
	t   *testing.T
	c   *fileCase
	web map[int]asked // answers over HTTP, by step
	far *farTarget
}

func newUploadBed(t *testing.T, c *fileCase) *uploadBed {
	b := &uploadBed{t: t, c: c, web: map[int]asked{}, far: &farTarget{direct: c.Export == "direct", back: make(chan struct{})}}
	b.depot = openDepot(t, func(s *depotSetup) {
		if c.Profile != "" {
			s.profile = c.Profile
		}
		if c.Export != "" {
			s.Export.Mode = c.Export
		}
		s.StrictCodes = c.Strict
		s.target = b.far.before
	})
	b.caseDesk = newCaseDesk(t, c, func() *gate { return b.gate }, func(id string) []string { return []string{responses + id} })
	b.attend()
	return b
}

// farTarget is a target that a case makes go away (cloud: down) and come back. While
// it is away a file that was taken already waits; one whose fin waits is refused.
type farTarget struct {
	bridge.FileTarget
	direct bool

	mu   sync.Mutex
	away bool
	back chan struct{} // closed when it is there again
}

func (f *farTarget) before(to bridge.FileTarget) bridge.FileTarget {
	f.FileTarget = to
	return f
}

func (f *farTarget) link(up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case up && f.away:
		close(f.back)
	case !up && !f.away:
		f.back = make(chan struct{})
	}
	f.away = !up
}

// Put implements bridge.FileTarget.
func (f *farTarget) Put(ctx context.Context, file *bridge.File) (string, error) {
	f.mu.Lock()
	away, back := f.away, f.back
	f.mu.Unlock()
	if away && f.direct {
		return "", bridge.Errorf(bridge.OpExport, bridge.Unavailable, "the case has taken the target away")
	}
	if away {
		select {
		case <-back:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return f.FileTarget.Put(ctx, file)
}

func (b *uploadBed) step(n int, s map[string]json.RawMessage) {
	b.t.Helper()
	switch kindOf(s) {
	case "publish":
		b.publish(n, b.client(b.c.clientOf(n)), s)
		return
	case "connect", "disconnect":
		b.caughtUp(n, b.c.clientOf(n))
	case "restart_server":
		for _, id := range b.ids() {
			b.caughtUp(n, id)
			_ = b.devices[id].Close()
			<-b.devices[id].ended
		}
		b.restart()
		return
	case "http_get":
		b.exportsAll()
		b.web[n] = b.get(b.address(s["http_get"]))
		return
	case "cloud":
		b.far.link(isUp(b.t, s["cloud"]))
		return
	case "advance_seconds":
		b.clock.advance(time.Duration(must[float64](b.t, s["advance_seconds"]) * float64(time.Second)))
	}
	if string(s["run_gc"]) == "true" {
		b.service.Sweep()
	}
	b.caseDesk.step(n, s)
}

// isUp reads the state of a link.
func isUp(t *testing.T, raw json.RawMessage) bool {
	t.Helper()
	switch state := strings.Trim(string(raw), `"`); state {
	case "up", "online", "true":
		return true
	case "down", "offline", "away", "false":
		return false
	default:
		t.Fatalf("the cloud cannot be %s", raw)
		return false
	}
}

// address is what is asked over HTTP: a path, or an object with one. @node is the
// depot's name, @cursor and @uri what the last answer said.
func (b *uploadBed) address(raw json.RawMessage) string {
	b.t.Helper()
	path := unquoted(raw)
	if path == "" {
		path = must[struct {
			Path string `json:"path"`
		}](b.t, raw).Path
	}
	path = strings.ReplaceAll(path, "@node", depotNode)
	last := asked{}
	for n := range b.c.Steps {
		if got, there := b.web[n]; there {
			last = got
		}
	}
	if strings.Contains(path, "@cursor") {
		path = strings.ReplaceAll(path, "@cursor", escapedQuery(last.text("cursor")))
	}
	if path == "@uri" {
		files := last.list(b.t).Files
		if len(files) != 1 {
			b.t.Fatalf("@uri: %d files were listed last", len(files))
		}
		path = files[0].URI
	}
	return path
}

// caughtUp waits for what a client is to hear of the steps before this one, which
// comes after their acknowledgements: its connection is about to end.
func (b *uploadBed) caughtUp(n int, id string) {
	b.t.Helper()
	for _, e := range b.c.Expect {
		if before := number(e["step"]); e["step"] != nil && e["topic"] != nil && before < n && b.hears(e) == id {
			b.expectMessage(e)
		}
	}
}

// exportsAll waits until what fin has taken is exported, unless the target is away:
// only then it is listed.
func (b *uploadBed) exportsAll() {
	b.t.Helper()
	eventually(b.t, "all is exported", func() bool {
		b.far.mu.Lock()
		away := b.far.away
		b.far.mu.Unlock()
		all, _ := b.service.Running("", upload.MostListed)
		return away || !slices.ContainsFunc(all, func(f upload.Transfer) bool { return f.State != upload.StateOpen })
	})
}
