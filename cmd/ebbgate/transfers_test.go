package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/partfile"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// filesGateway is a gateway that takes files, not running but for its transfers,
// behind a server of its admin routes.
func filesGateway(t *testing.T, enabled bool) (*gateway, *httptest.Server) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ebbgate.yaml")
	text := fmt.Sprintf("gateway: {id: gw}\nspool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\nadmin: {address: \"\"}\nlisteners: [{name: lan, address: \"127.0.0.1:0\"}]\nfile_transfer: {enabled: %v, headroom: 32MiB}\n", enabled)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := openGateway(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.files.run(ctx) }()
	mux := http.NewServeMux()
	for pattern, h := range g.transferRoutes() {
		mux.Handle(pattern, h)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := errors.Join(<-done, g.close()); err != nil {
			t.Error(err)
		}
	})
	return g, server
}

// command gives the service a command, as a device's connection does.
func (g *gateway) command(t *testing.T, client, topic, payload string) {
	t.Helper()
	done := make(chan error, 1)
	g.files.service.Take(upload.Request{ClientID: client, Message: &bridge.Message{Topic: topic, Payload: []byte(payload), QoS: 1}, PacketID: 1, After: func(func()) {}},
		func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatalf("%s of %s: %v", topic, client, err)
	}
}

// export sends a file of one piece, and waits until it has left.
func (g *gateway) export(t *testing.T, client, file, content string) {
	t.Helper()
	g.command(t, client, "$file/"+file+"/init", `{"name":"a.bin"}`)
	g.command(t, client, "$file/"+file+"/0", content)
	g.command(t, client, fmt.Sprintf("$file/%s/fin/%d", file, len(content)), "")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); <-tick.C {
		if all, err := g.files.service.Show(client, file); err == nil && len(all) == 1 && all[0].State == upload.StateExported {
			return
		}
	}
	t.Fatalf("%s of %s is not exported", file, client)
}

func clientOf(s *httptest.Server) *transfersClient {
	return &transfersClient{s.Listener.Addr().String()}
}

// TestTransfersByHTTP: what runs and what has been exported is one list, of any page
// size, and what cannot be asked is told.
func TestTransfersByHTTP(t *testing.T) {
	g, server := filesGateway(t, true)
	var want []string
	for i := range 3 {
		g.command(t, "open", fmt.Sprintf("$file/f%d/init", i), `{"name":"a.bin"}`)
		want = append(want, fmt.Sprintf("open f%d open", i))
	}
	for _, file := range []string{"..", "a b", "f?1"} {
		g.export(t, "left/x", file, "content of "+file)
		want = append(want, "left/x "+file+" exported")
	}
	c := clientOf(server)
	for limit := range 8 {
		var got []string
		for following := ""; ; {
			var page transfersPage
			if err := c.ask(t.Context(), http.MethodGet, fmt.Sprintf("%s?limit=%d&following=%s", transfersPath, limit+1, following), &page); err != nil {
				t.Fatal(err)
			}
			for _, x := range page.Transfers {
				got = append(got, fmt.Sprintf("%s %s %s", x.ClientID, x.FileID, x.State))
			}
			if following = page.Following; following == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q, want %q", limit+1, got, want)
		}
	}
	for query, status := range map[string]int{"limit=0": 400, "limit=1001": 400, "limit=x": 400, "state=done": 400, "following=x": 400, "following=r%20": 400, "state=exported&following=rAA": 400, "state=running": 200} {
		resp, err := http.Get(server.URL + transfersPath + "?" + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %d", query, resp.StatusCode)
		}
	}
	n := 0
	more, err := c.each(t.Context(), "", 4, func(*upload.Transfer) error { n++; return nil })
	if err != nil || !more || n != 4 {
		t.Errorf("%d, more: %v, %v", n, more, err)
	}
	if _, err := c.show(t.Context(), "left/x", "f0"); !errors.Is(err, errNoTransfer) {
		t.Error(err)
	}
	if err := c.ask(t.Context(), http.MethodDelete, transferPath("left/x", ".."), nil); !errors.Is(err, errNoTransfer) {
		t.Errorf("an exported file was given up: %v", err)
	}
	if err := c.ask(t.Context(), http.MethodPost, transferPath("left/x", "..")+"/retry", nil); err == nil || !strings.Contains(err.Error(), "exported already") {
		t.Error(err)
	}
	if err := c.ask(t.Context(), http.MethodDelete, transferPath("left/x", "..")+"/content", nil); err != nil {
		t.Error(err)
	}
}

// TestListedOnce: a transfer that is exported between the two halves of a page is on
// it once; an open one of the same id is another.
func TestListedOnce(t *testing.T) {
	whole := func(file string, state upload.State) upload.Transfer {
		return upload.Transfer{ClientID: "c", FileID: file, State: state, SHA256: "ab"}
	}
	running := []upload.Transfer{whole("f", upload.StateExporting), {ClientID: "c", FileID: "f", State: upload.StateOpen}, whole("g", upload.StateQueued)}
	got := stillRunning(running, []upload.Transfer{whole("f", upload.StateExported)})
	if len(got) != 2 || got[0].State != upload.StateOpen || got[1].FileID != "g" {
		t.Errorf("%+v", got)
	}
}

// TestNoTransfers: a gateway that takes no files says so.
func TestNoTransfers(t *testing.T) {
	_, server := filesGateway(t, false)
	if _, err := clientOf(server).show(t.Context(), "c", "f"); err == nil || !strings.Contains(err.Error(), "file_transfer.enabled") {
		t.Error(err)
	}
}

// TestContentGoesOn: a download goes on from any byte, of the same file only.
func TestContentGoesOn(t *testing.T) {
	g, server := filesGateway(t, true)
	g.export(t, "c", "f", "0123456789")
	sum := "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
	for _, c := range []struct {
		rng, match, want string
	}{
		{"", "", "200 0123456789"}, {"bytes=4-", "", "206 456789"}, {"bytes=0-", `"` + sum + `"`, "200 0123456789"}, {"bytes=9-", "*", "206 9"},
		{"bytes=10-", "", "416"}, {"bytes=-3", "", "416"}, {"bytes=1-2", "", "416"}, {"lines=1-", "", "416"}, {"bytes=4-", `"other"`, "412"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+transferPath("c", "f")+"/content", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Range", c.rng)
		r.Header.Set("If-Match", c.match)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); got != c.want && (resp.StatusCode < 400 || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%q of %q: %s, want %s", c.rng, c.match, got, c.want)
		}
		if resp.StatusCode < 400 && resp.Header.Get("ETag") != `"`+sum+`"` {
			t.Errorf("%v", resp.Header)
		}
	}
}

// TestFilesGet: a download that was cut goes on from its part; a part of another
// file does not count; what has been changed where it went is told, and not kept.
func TestFilesGet(t *testing.T) {
	g, server := filesGateway(t, true)
	g.export(t, "c", "f", "0123456789")
	x, err := exportedTransfer(t.Context(), clientOf(server), "c", "f")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	ofThis := fetched{x.ClientID, x.FileID, *x.Size, x.SHA256}
	get := func(part string, of fetched) (*fileGet, error) {
		t.Helper()
		if part != "" {
			f, err := partfile.Open(out, 0o600)
			if err == nil {
				err = f.Begin(of)
			}
			if err == nil {
				_, err = f.WriteString(part)
			}
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		d := &fileGet{transfersClient: clientOf(server), t: x, progress: func(int64, int64) {}}
		return d, d.save(t.Context(), out)
	}
	for part, resumed := range map[string]int64{"": 0, "0123": 4, "0123456789": 10, "a longer one than it is": 0, "another 10": 0, "9999": 0, "of another": 0} {
		of := ofThis
		if part == "of another" {
			of.FileID = "g"
		}
		d, err := get(part, of)
		if err != nil || d.resumed != resumed {
			t.Errorf("%q: %v, resumed %d", part, err, d.resumed)
		}
		if b, err := os.ReadFile(out); err != nil || string(b) != "0123456789" {
			t.Errorf("%q: %q %v", part, b, err)
		}
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(g.cfg.FileTransfer.Export.Folder.Dir, x.Place), []byte("0123456788"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get("", ofThis); err == nil || !strings.Contains(err.Error(), "changed or damaged") {
		t.Error(err)
	}
	for _, name := range []string{out, out + ".part"} {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(out+".part", []byte("0123 is mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get("", ofThis); err == nil || exitCode(err) != exitInvalid || !strings.Contains(err.Error(), "out.part is in the way") {
		t.Errorf("somebody's own: %v", err)
	}
	if b, err := os.ReadFile(out + ".part"); err != nil || string(b) != "0123 is mine" {
		t.Errorf("%q %v", b, err)
	}
	for _, name := range []string{"", "..", "a/b", "a\x1b[2J", "a\u202egpj.exe", "a\u2028b"} {
		if _, err := (&fileGet{t: &upload.Transfer{Name: name}}).ownName(); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

// TestWatchByHTTP: a stream tells what is there, what changes and how it ends, and
// there are no more of them than allowed.
func TestWatchByHTTP(t *testing.T) {
	g, server := filesGateway(t, true)
	g.command(t, "c", "$file/f/init", `{"name":"a.bin","size":10}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := make(chan transferEvent, 1000)
	ended := make(chan error, 1)
	go func() {
		ended <- clientOf(server).events(ctx, func(e *transferEvent) error {
			if e != nil {
				events <- *e
			}
			return nil
		})
	}()
	see := func(event string, state upload.State, received int64) {
		t.Helper()
		late := time.After(2 * time.Minute)
		for {
			select {
			case e := <-events:
				if e.Event == event && e.Transfer.State == state && e.Transfer.Received == received && e.Transfer.ClientID == "c" {
					return
				}
			case <-late:
				t.Fatalf("no %s of %s with %d bytes", event, state, received)
			}
		}
	}
	see("transfer", upload.StateOpen, 0)
	g.command(t, "c", "$file/f/0", "01234")
	see("transfer", upload.StateOpen, 5)
	g.command(t, "c", "$file/f/5", "56789")
	g.command(t, "c", "$file/f/fin/10", "")
	see("gone", upload.StateExported, 10)
	g.command(t, "c", "$file/g/init", `{"name":"a.bin"}`)
	see("transfer", upload.StateOpen, 0)
	if err := g.files.service.GiveUp(t.Context(), "c", "g"); err != nil {
		t.Fatal(err)
	}
	see("gone", "", 0)
	var streams []io.Closer
	for range watchesAtOnce {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+transfersPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if streams = append(streams, resp.Body); len(streams) == watchesAtOnce && waitOf(resp) == 0 {
			t.Errorf("one too many: %d", resp.StatusCode)
		}
	}
	for _, s := range streams {
		_ = s.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// manyTransfers is a source whose one transfer is at another byte at each look.
type manyTransfers struct{ received int64 }

func (m *manyTransfers) Running(string, int) ([]upload.Transfer, string) {
	m.received++
	return []upload.Transfer{{ClientID: "c", FileID: "f", State: upload.StateOpen, Received: m.received}}, ""
}

func (m *manyTransfers) Show(string, string) ([]upload.Detail, error) { return nil, nil }

// TestSlowWatchers: nothing is kept for a reader who does not read: he gets the
// state as it is when he reads again, and none in between.
func TestSlowWatchers(t *testing.T) {
	m := &manyTransfers{}
	var got []string
	c := &changes{source: m, emit: func(name string, v any) error {
		b, err := json.Marshal(v)
		got = append(got, name+" "+string(b))
		m.received += 1000 // while he does not read
		return err
	}}
	for range 3 {
		if err := c.look(); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 3 || !strings.Contains(got[2], `"received":2003`) {
		t.Errorf("%q", got)
	}
	errGoneReader := errors.New("gone")
	c.emit = func(string, any) error { return errGoneReader }
	if err := c.look(); !errors.Is(err, errGoneReader) {
		t.Error(err)
	}
}
