package scenario

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// TestDivertSurvivesKills: payloads above the upstream's limit become files while the
// gateway is killed and the link is cut. Each message that got a PUBACK arrives: as it
// is, or as a pointer to a file that is there, whole. No message has two files (U8).
func TestDivertSurvivesKills(t *testing.T) {
	t.Parallel()
	const devices, messages = 4, 10
	kills := scaled(4, 1)
	rnd := dice(t)
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	cloud := tape(t, broker.Addr)
	g := newGateway(t, site{
		Endpoint: "mqtt://" + proxy.Addr,
		Set: []string{
			"routes.up[0].divert=8KiB", "file_transfer.enabled=true", "file_transfer.client_transfers=4", // few: some have to wait
			"file_transfer.export.layout=${clientid}/${fileid}/${name}",
		},
	})
	g.start()

	want, large := map[string]bool{}, 0
	var fleet sync.WaitGroup
	for d := range devices {
		payloads := make([][]byte, messages)
		for i := range payloads {
			data := make([]byte, 1000+rnd.IntN(40_000))
			for j := range data {
				data[j] = "0123456789abcdef"[rnd.IntN(16)]
			}
			payloads[i] = fmt.Appendf(nil, `{"d":%d,"n":%d,"data":"%s"}`, d, i, data)
			if want[string(payloads[i])] = true; len(payloads[i]) > 8<<10 {
				large++
			}
		}
		client := fmt.Sprintf("device-%02d", d)
		fleet.Go(func() { publishSurely(t, g, client, "dt/"+client, payloads) })
	}
	for i := range kills {
		n := 6 + 8*i
		if !until(time.Minute, func() bool { return len(cloud.all()) >= n }) {
			t.Fatalf("only %d messages arrived before kill %d", len(cloud.all()), i)
		}
		g.kill()
		g.start()
		proxy.Reset()
	}
	fleet.Wait()
	delivered(t, g)
	cloud.rest(t)

	files := map[string]bool{} // by path, that pointers lead to
	for _, line := range cloud.all() {
		_, text, _ := strings.Cut(line, " ")
		payload, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(payload), `"file_id"`) {
			if len(payload) > 8<<10 {
				t.Errorf("a message has %d bytes", len(payload))
			}
			delete(want, string(payload))
			continue
		}
		path := pointedTo(t, payload)
		files[path] = true
		if !until(30*time.Second, func() bool { _, err := os.Stat(path); return err == nil }) {
			t.Fatalf("nothing is at %s", path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		delete(want, string(content))
	}
	if len(want) > 0 {
		t.Errorf("%d messages have not arrived, as they are or as files", len(want))
	}
	there := 0
	root := filepath.Join(g.Data, "files", "exports")
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, ".MANIFEST.json") {
			there++
			if !files[path] {
				t.Errorf("nothing points to %s", path)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// Whose PUBACK a kill took sends its message again, and that is a message of its own.
	if again := kills * devices; there != len(files) || there < large || there > large+again {
		t.Errorf("%d files and pointers to %d for %d messages and %d more at most", there, len(files), large, again)
	}
}

// pointedTo is where a pointer says that its file is; the file has its checksum there.
func pointedTo(t *testing.T, payload []byte) string {
	t.Helper()
	var p struct {
		Topic, Device, ID, URI, SHA256, Accepted string
		FileID                                   string `json:"file_id"`
		Size                                     int64
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(p.URI)
	if err != nil || u.Scheme != "file" || p.Topic != "dt/"+p.Device || !strings.HasSuffix(p.FileID, p.ID) || p.Accepted == "" {
		t.Fatalf("a pointer says %s: %v", payload, err)
	}
	if !until(30*time.Second, func() bool {
		content, err := os.ReadFile(u.Path)
		sum := sha256.Sum256(content)
		return err == nil && int64(len(content)) == p.Size && hex.EncodeToString(sum[:]) == p.SHA256
	}) {
		t.Fatalf("what is at %s is not the file of %s", u.Path, payload)
	}
	return u.Path
}
