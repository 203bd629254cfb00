package scenario

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/sandbox"
)

// cloudChunk is in what pieces a gateway fetches.
const cloudChunk = 64 << 10

// firmware is a file whose every part is different.
func firmware(size int, version byte) []byte {
	out := make([]byte, 0, size+32)
	for i := 0; len(out) < size; i++ {
		sum := sha256.Sum256(fmt.Append(nil, version, i))
		out = append(out, sum[:]...)
	}
	return out[:size]
}

// TestF80_FleetCostsOneDownload: fifty devices download one file at once, the link
// to the cloud is cut half-way, and each part of the file has crossed it once, but
// for those that were under way at the cut.
func TestF80_FleetCostsOneDownload(t *testing.T) {
	t.Parallel()
	fleet, size := 50, scaled(24<<20, 3<<20)+12345
	file := firmware(size, 1)
	cloud := streamCloud(t)
	cloud.Streams().Put("fw", "pump firmware", map[int][]byte{0: file})
	g := streaming(t, cloud)
	g.start()
	var cut sync.Once
	broken := make(chan struct{})
	breakLink := func() {
		cut.Do(func() {
			cloud.Gate().Set(sandbox.Fault{Refuse: true})
			cloud.Gate().Cut()
			close(broken)
		})
	}
	began := time.Now()
	results := make(chan error, fleet)
	for i := range fleet {
		d := joinStreams(t, g, fmt.Sprintf("pump-%02d", i))
		go func() {
			sum, err := d.download("fw", size, 16<<10, 8, breakLink)
			if err == nil && sum != sha256.Sum256(file) {
				err = fmt.Errorf("%s has another file", d.id)
			}
			results <- err
		}()
	}
	<-broken
	late := joinStreams(t, g, "late") // the part that is there is served meanwhile (F81)
	if got := late.block("fw", 4096, 3); !bytes.Equal(got, file[3*4096:4*4096]) {
		t.Error("another block")
	}
	cloud.Gate().Set(sandbox.Fault{})
	for range fleet {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	g.expectBilled(t, size)
	times := make([]int, (size+cloudChunk-1)/cloudChunk)
	crossed := 0
	for _, a := range cloud.Streams().Asked() {
		times[a.From/cloudChunk]++
		crossed += a.Wire
	}
	again := 0
	for n, k := range times {
		if k == 0 {
			t.Errorf("chunk %d was never fetched", n)
		}
		again += max(k-1, 0)
	}
	if again > 4 {
		t.Errorf("%d chunks were fetched again; no more than the four under way at the cut may be", again)
	}
	if limit := size + size/20 + 4*cloudChunk; crossed > limit {
		t.Errorf("%d bytes crossed for a file of %d", crossed, size)
	}
	t.Logf("%d devices, %d bytes each, %v; %d bytes crossed the link, %d chunks twice", fleet, size, time.Since(began).Round(time.Millisecond), crossed, again)
}

// expectBilled looks at what the gateway's own bill says of a file that came down
// once: in units of 5 KB, with what a description and a cut cost.
func (g *gateway) expectBilled(t *testing.T, size int) {
	t.Helper()
	const unit = 5 << 10
	var down int64
	if !until(30*time.Second, func() bool {
		units, _ := g.bill(t)
		down = units["down"]
		return down >= int64(size/unit)
	}) || down > int64(size/unit)*5/4+100 {
		t.Errorf("%d units came down for a file of %d", down, size/unit)
	}
	t.Logf("%d units came down, of %d that the file has", down, size/unit)
}

// TestPrefetch: what a person asks for, and what a job document names, is here
// before a device asks.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{"asked": firmware(5*cloudChunk+7, 1), "of-a-job": firmware(3*cloudChunk, 2)}
	cloud := streamCloud(t)
	for id, file := range files {
		cloud.Streams().Put(id, "", map[int][]byte{0: file})
	}
	g := streaming(t, cloud, "routes.pass_through.upstream=cloud")
	g.start()
	if code, _, errs := cli(t, g.dir, "streams", "prefetch", "asked", "--config", g.configFile(), "--set", "streams.cloud.upstream=cloud"); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	jobs := talker(t, cloud.Addr(), "jobs")
	notify := func() {
		must(t, "notify", jobs.Publish("$aws/things/pump/jobs/notify-next", 1, false,
			`{"execution":{"jobId":"1","jobDocument":{"afr_ota":{"protocols":["MQTT"],"streamname":"of-a-job"}}}}`))
	}
	fetched, asked := map[string]int{}, time.Time{}
	if !until(120*time.Second, func() bool {
		if time.Since(asked) > time.Second { // the gateway may not have subscribed yet
			notify()
			asked = time.Now()
		}
		clear(fetched)
		for _, a := range cloud.Streams().Asked() {
			fetched[a.Stream] += a.To - a.From
		}
		return fetched["asked"] >= len(files["asked"]) && fetched["of-a-job"] >= len(files["of-a-job"])
	}) {
		t.Fatalf("fetched: %v", fetched)
	}
	if !until(30*time.Second, func() bool { // what was asked for need not have come yet
		here := map[string]bool{}
		for line := range strings.Lines(g.log()) {
			for id := range files {
				if strings.Contains(line, "a stream of the cloud is here") && strings.Contains(line, "stream="+id+" ") {
					here[id] = true
				}
			}
		}
		return len(here) == len(files)
	}) {
		t.Fatal("the log does not say so")
	}
	code, out, errs := cli(t, g.dir, "streams", "list", "--cloud", "--json", "--config", g.configFile(), "--set", "streams.cloud.upstream=cloud")
	var cached struct {
		Streams []struct {
			ID             string `json:"stream"`
			Version, Files int
			Size           int64
			Bytes          int64 `json:"cached"`
		}
	}
	if err := json.Unmarshal([]byte(out), &cached); code != 0 || err != nil || len(cached.Streams) != len(files) {
		t.Fatalf("%d, %v, %s%s", code, err, out, errs)
	}
	for _, h := range cached.Streams {
		if size := int64(len(files[h.ID])); h.Size != size || h.Bytes != size || h.Version != 1 || h.Files != 1 {
			t.Errorf("of %d bytes it says %+v", size, h)
		}
	}
	if _, out, _ := cli(t, g.dir, "streams", "list", "--cloud", "--config", g.configFile(), "--set", "streams.cloud.upstream=cloud"); !regexp.MustCompile(`(?m)^asked +1 +1 .*100 % +here$`).MatchString(out) {
		t.Errorf("in words: %s", out)
	}
	cloud.Gate().Set(sandbox.Fault{Refuse: true})
	cloud.Gate().Cut()
	d := joinStreams(t, g, "pump")
	for id, file := range files {
		if sum, err := d.download(id, len(file), 4096, 8, nil); err != nil || sum != sha256.Sum256(file) {
			t.Errorf("%s: another file, %v", id, err)
		}
	}
}

// TestF81_CloudAway: what is kept is served while the cloud is away, after a kill
// too; for the rest there is silence until it is back.
func TestF81_CloudAway(t *testing.T) {
	t.Parallel()
	file := firmware(4*cloudChunk, 1)
	cloud := streamCloud(t)
	cloud.Streams().Put("fw", "", map[int][]byte{0: file})
	g := streaming(t, cloud)
	g.start()
	d := joinStreams(t, g, "pump")
	if !bytes.Equal(d.block("fw", 4096, 1), file[4096:8192]) {
		t.Error("another block")
	}
	cloud.Gate().Set(sandbox.Fault{Refuse: true})
	cloud.Gate().Cut()
	g.kill()
	g.start()
	d = joinStreams(t, g, "pump-2")
	if !bytes.Equal(d.block("fw", 4096, 2), file[2*4096:3*4096]) {
		t.Error("another block after the kill")
	}
	d.ask("fw", map[string]any{"f": 0, "l": 4096, "o": 20, "n": 1})
	if a, came := d.next(time.Second); came {
		t.Errorf("got %+v of a part that is not here", a)
	}
	cloud.Gate().Set(sandbox.Fault{})
	if !bytes.Equal(d.block("fw", 4096, 20), file[20*4096:21*4096]) {
		t.Error("another block once the cloud is back")
	}
}

// TestF79_VersionsDoNotMix: when the cloud has a new version, each answer is of one
// or the other, the old one is refused soon, and its cache is gone.
func TestF79_VersionsDoNotMix(t *testing.T) {
	t.Parallel()
	was, is := firmware(2*cloudChunk, 1), firmware(2*cloudChunk, 2)
	cloud := streamCloud(t)
	cloud.Streams().Put("fw", "", map[int][]byte{0: was})
	g := streaming(t, cloud)
	g.start()
	d := joinStreams(t, g, "pump")
	d.block("fw", 4096, 0)
	cloud.Streams().Put("fw", "", map[int][]byte{0: is})
	seen := false
	for deadline := time.Now().Add(30 * time.Second); !seen; {
		if time.Now().After(deadline) {
			t.Fatal("the new version does not come")
		}
		d.ask("fw", map[string]any{"f": 0, "l": cloudChunk, "n": 2})
		var answer []byte
		for range 2 {
			a, came := d.next(2 * time.Second)
			if !came || a.Code != "" {
				break
			}
			answer = append(answer, a.Payload...)
		}
		switch {
		case bytes.Equal(answer, is):
			seen = true
		case len(answer) == len(was) && !bytes.Equal(answer, was):
			t.Fatal("an answer is of two versions")
		}
	}
	d.ask("fw", map[string]any{"s": 1, "f": 0, "l": 4096, "n": 1})
	if a, came := d.next(10 * time.Second); !came || a.Code != "VersionMismatch" {
		t.Errorf("the old version: %+v", a)
	}
	left, err := filepath.Glob(filepath.Join(g.dir, "streams", "cloud", "*", "fw", "1", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the old version is kept: %v %v", left, err)
	}
}

// TestStreamsCommands: what is defined beside a running gateway is served at once,
// survives a kill, and is downloaded by the command, which goes on where it was.
func TestStreamsCommands(t *testing.T) {
	t.Parallel()
	g := local(t, "streams.enabled=true", "streams.bytes_per_second=128KiB")
	file := firmware(700_000, 1)
	g.write("fw.bin", string(file))
	g.start()
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := cli(t, g.dir, append([]string{"streams"}, args...)...)
		if code != want {
			t.Fatalf("%v: %d %s", args, code, errs)
		}
		return out
	}
	conf := []string{"--config", g.configFile()}
	sum := fmt.Sprintf("%x", sha256.Sum256(file))
	if out := run(0, append(conf, "create", "fw", "fw.bin", "--description", "test")...); !strings.Contains(out, sum) {
		t.Errorf("create says %s", out)
	}
	g.kill()
	g.start()
	get := []string{"get", "fw", "--broker", "mqtt://" + g.Listen, "--thing", "pump", "--out", "got.bin", "--block", "4KiB", "--wait", "2s"}
	cmd := process(t, g.dir, append([]string{"streams"}, get...)...)
	if !until(30*time.Second, func() bool {
		note, _ := os.ReadFile(filepath.Join(g.dir, "got.bin.part.json")) // none yet
		_, have, some := strings.Cut(string(note), `"have":"`)
		have, _, _ = strings.Cut(have, `"`)
		return some && strings.Trim(have, "A=") != "" // a block at least is noted
	}) {
		t.Fatal("nothing comes")
	}
	cmd.kill()
	if _, err := os.Stat(filepath.Join(g.dir, "got.bin")); err == nil {
		t.Fatal("it was too quick to be interrupted")
	}
	out := run(0, append(get, "--json")...)
	if !strings.Contains(out, sum) || strings.Contains(out, `"resumed": 0`) {
		t.Errorf("get says %s", out)
	}
	if got, err := os.ReadFile(filepath.Join(g.dir, "got.bin")); err != nil || !bytes.Equal(got, file) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if out := run(0, append(conf, "list")...); !strings.Contains(out, "fw") {
		t.Errorf("list says %s", out)
	}
	run(0, append(conf, "delete", "fw")...)
	run(1, append(conf, "describe", "fw")...)
	run(1, "get", "fw", "--broker", "mqtt://"+g.Listen, "--thing", "pump")
	run(2, "get", "fw")
}
