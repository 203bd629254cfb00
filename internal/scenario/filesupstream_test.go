package scenario

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// exported lists the files in a gateway's folder of exports, without manifests.
func exported(g *gateway) (files []string) {
	_ = filepath.WalkDir(filepath.Join(g.Data, "files", "exports"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "%partial" {
			return filepath.SkipDir
		}
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, ".MANIFEST.json") {
			files = append(files, path)
		}
		return nil
	})
	return files
}

// growing is how many bytes of unfinished files a gateway has.
func growing(g *gateway) (n int64) {
	left, _ := filepath.Glob(filepath.Join(g.Data, "files", "*.segments")) // the pattern is good
	for _, path := range left {
		if info, err := os.Stat(path); err == nil {
			n += info.Size()
		}
	}
	return n
}

// TestFileGoesOnToAnotherGateway: a file that a device has sent goes on to another
// Ebbgate, by EMQX's protocol, while the sender and the receiver are killed in turn
// and the link between them is cut. It arrives once, as it was, and says whose it is.
func TestFileGoesOnToAnotherGateway(t *testing.T) {
	t.Parallel()
	there := local(t, "file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}")
	there.start()
	link := peers.NewProxy(t, there.Listen)
	here := newGateway(t, site{Endpoint: "mqtt://" + link.Addr, Set: []string{
		"file_transfer.enabled=true", "file_transfer.export.to=upstream", "file_transfer.export.upstream=cloud",
		"file_transfer.export.bandwidth=4MiB",
	}})
	here.write("policies/fleet.json", openPolicy)
	here.start()

	size := scaled(64<<20, 6<<20)
	u := &filmUpload{t: t, addr: here.Listen, content: noise(size, dice(t)), segment: 100_000}
	u.acked = make([]bool, (size+u.segment-1)/u.segment)
	if err := u.attempt(func(int) {}); err != nil {
		t.Fatal(err)
	}
	blows := []func(){
		func() { here.kill(); here.start() },
		func() { link.Cut(); link.Restore() },
		func() { there.kill(); there.start() },
		func() { here.kill(); link.Cut(); link.Restore(); here.start() },
	}
	for i, blow := range blows {
		if !until(time.Minute, func() bool { return growing(there) > int64((i+1)*size/6) }) {
			t.Fatalf("before blow %d: %d bytes are there", i+1, growing(there))
		}
		blow()
	}
	if !until(2*time.Minute, func() bool { return len(exported(there)) == 1 }) {
		t.Fatalf("the file does not arrive: %v", exported(there))
	}
	path := exported(there)[0]
	got, err := os.ReadFile(path)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(u.content) {
		t.Errorf("%d bytes arrived, %d were sent, %v", len(got), len(u.content), err)
	}
	text, err := os.ReadFile(path + ".MANIFEST.json")
	var manifest []json.RawMessage
	var meta struct {
		Name string                                     `json:"name"`
		User struct{ Gateway, ClientID, FileID string } `json:"user_data"`
	}
	if err != nil || json.Unmarshal(text, &manifest) != nil || json.Unmarshal(manifest[2], &meta) != nil ||
		meta.Name != "film.bin" || meta.User != struct{ Gateway, ClientID, FileID string }{"site-1", "camera", "film"} {
		t.Errorf("%s: %v", text, err)
	}
	if !until(30*time.Second, func() bool { return growing(here) == 0 && growing(there) == 0 }) {
		t.Errorf("%d and %d bytes are left of a file that has arrived", growing(here), growing(there))
	}
	// A device that has lost its answer hears that it is done, and nothing goes again.
	c := join(t, here.Listen, "camera", true)
	if err := u.one(c, "$file/film/fin/"+strconv.Itoa(size), nil); err != nil || len(exported(there)) != 1 {
		t.Errorf("%v, %v", err, exported(there))
	}
	for _, g := range []*gateway{here, there} {
		if code := g.stop(); code != 0 || strings.Contains(g.log(), "panic") {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestFilesOfTwoDevicesGoOnWithEqualIDs: over MQTT 3.1.1, where only responses tell, to
// a gateway that takes small segments only and does not say so. With mode direct fin
// means that the file has arrived there.
func TestFilesOfTwoDevicesGoOnWithEqualIDs(t *testing.T) {
	t.Parallel()
	there := local(t, "file_transfer.enabled=true", "file_transfer.max_segment=8KiB")
	there.start()
	here := newGateway(t, site{Endpoint: "mqtt://" + there.Listen, Set: []string{
		"file_transfer.enabled=true", "file_transfer.export.to=upstream", "file_transfer.export.upstream=cloud",
		"file_transfer.export.mode=direct", "upstreams.cloud.protocol=3.1.1", "routes.up[0].origin=none",
	}})
	here.write("policies/fleet.json", openPolicy)
	here.start()
	want := map[string][]byte{}
	for i, device := range []string{"pump-1", "pump-2"} {
		content := bytes.Repeat([]byte{byte(i), 7, byte(3 * i)}, 20_000)
		want[device] = content
		c := join(t, here.Listen, device, true)
		u := &filmUpload{t: t}
		for _, command := range []struct {
			topic   string
			payload []byte
		}{{"$file/log/init", []byte(`{"name":"log.bin"}`)}, {"$file/log/0", content}} {
			if err := u.one(c, command.topic, command.payload); err != nil {
				t.Fatal(err)
			}
		}
		if !until(time.Minute, func() bool {
			if err := u.one(c, "$file/log/fin/"+strconv.Itoa(len(content)), nil); err != nil {
				t.Fatal(err)
			}
			return len(exported(there)) == i+1
		}) {
			t.Fatalf("of %d files %d are there", i+1, len(exported(there)))
		}
	}
	for _, path := range exported(there) {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for device, content := range want {
			if bytes.Equal(got, content) && strings.Contains(path, device+"-log-") {
				delete(want, device)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("%v are not whole: %v", slices.Collect(maps.Keys(want)), exported(there))
	}
	if strings.Contains(here.log()+there.log(), "panic") {
		t.Error("a gateway panicked")
	}
}
