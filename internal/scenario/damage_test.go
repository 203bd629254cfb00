package scenario

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/tally"
)

// TestDamage breaks files: of every kind that the spool writes, one gets a bit
// flipped, or loses its second half, or goes. Whatever it is, the gateway
// starts and delivers what is whole, and says how many messages are missing:
// as many as are. "spool verify" sees it before, "spool repair" says the same.
func TestDamage(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	base := spooled(t)
	for _, kind := range base.kinds() {
		all := harms
		if !soak() {
			all = []harm{harms[rnd.IntN(len(harms))]}
		}
		for _, h := range all {
			file := kind.files[rnd.IntN(len(kind.files))]
			rnd := rand.New(rand.NewPCG(rnd.Uint64(), 0)) // its own: they run beside each other
			t.Run(kind.name+" "+h.name, func(t *testing.T) {
				t.Parallel()
				base.survive(t, file, func(path string) { h.do(t, rnd, path) })
			})
		}
	}
}

// full is a spool folder that holds messages and that nobody has open.
type full struct {
	dir   string // of the gateway; the spool is in data below it
	acked tally.Set
	limit int // messages that one generation holds, at most
	kept  int // messages that wait for a device that is away, see [full.keep]
}

const damagePayload = 16 << 10

// spooled fills a spool with several generations, one closed and two left by a
// kill, while the cloud is away. In a soak some are as large as they get; that a
// spool of small ones is hurt in the same way saves copying gigabytes.
func spooled(t *testing.T) *full {
	t.Helper()
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	proxy := peers.NewProxy(t, broker.Addr)
	proxy.Cut()
	g := newGateway(t, site{Endpoint: "mqtt://" + proxy.Addr})
	g.write("policies/fleet.json", openPolicy)
	const devices = 10
	rounds := scaled([]int{700, 700, 300}, []int{100, 120, 60})
	b := &full{dir: g.dir, limit: min((64<<20+2<<20)/damagePayload+1, devices*slices.Max(rounds))}
	for round, messages := range rounds {
		g.start()
		f := &fleet{devices: devices, messages: messages, window: 50, size: damagePayload, name: fmt.Sprintf("round%d", round)}
		f.start(t, g.Listen)
		if !f.wait(2 * time.Minute) {
			t.Fatalf("only %d messages were taken", f.acked.Len())
		}
		b.keep(t, g)
		for name, n := range f.acked.Series() {
			for i := range uint64(n) {
				b.acked.Add(name, i+1)
			}
		}
		if round == 1 {
			g.stop()
		} else {
			g.kill()
		}
	}
	return b
}

// fileKind is a sort of file in a spool folder.
type fileKind struct {
	name  string
	files []string // relative to the spool folder
}

// kinds sorts the files of the spool by where they are and what they end in.
func (b *full) kinds() []fileKind {
	byName := map[string][]string{}
	data := filepath.Join(b.dir, "data")
	_ = filepath.WalkDir(data, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(data, path)
		if info, err := e.Info(); err == nil && info.Size() > 0 {
			byName[kindOf(rel)] = append(byName[kindOf(rel)], rel)
		}
		return nil
	})
	var out []fileKind
	for name, files := range byName {
		out = append(out, fileKind{name, files})
	}
	slices.SortFunc(out, func(a, b fileKind) int { return strings.Compare(a.name, b.name) })
	return out
}

// kindOf names a file's kind: "log .vlog", "state MANIFEST", "SPOOL".
func kindOf(rel string) string {
	name := filepath.Base(rel)
	if ext := filepath.Ext(name); ext != "" {
		name = ext
	}
	if top, _, ok := strings.Cut(rel, string(filepath.Separator)); ok {
		return top + " " + name
	}
	return name
}

// harm is something that happens to a file.
type harm struct {
	name string
	do   func(t *testing.T, rnd *rand.Rand, path string)
}

var harms = []harm{
	{"bit flipped", flip},
	{"truncated", func(t *testing.T, _ *rand.Rand, path string) {
		info, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, info.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}},
	{"missing", func(t *testing.T, _ *rand.Rand, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}},
}

// flip turns one bit, of a byte that is not zero where the file has one: files are
// made long before they are filled, and a flip beyond what is written harms nothing.
func flip(t *testing.T, rnd *rand.Rand, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := rnd.IntN(len(data))
	if written := len(data) - bytes.Count(data, []byte{0}); written > 0 {
		left := rnd.IntN(written)
		for at = 0; data[at] == 0 || left > 0; at++ {
			if data[at] != 0 {
				left--
			}
		}
	}
	data[at] ^= 1 << rnd.IntN(8)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// survive damages a copy of the spool, starts a gateway on it, and compares
// what arrives, what is missing, and what is said to be missing.
func (b *full) survive(t *testing.T, file string, damage func(path string)) {
	broker := peers.Mosquitto(t, peers.MosquittoOptions{})
	consumer := watch(t, broker.Addr)
	g := newGateway(t, site{Endpoint: "mqtt://" + broker.Addr})
	g.write("policies/fleet.json", openPolicy)
	command(t, "cp", "-a", filepath.Join(b.dir, "data"), g.Data)
	damage(filepath.Join(g.Data, file))

	second := filepath.Join(g.dir, "second")
	command(t, "cp", "-a", g.Data, second)

	code, out, errs := cli(t, g.dir, "spool", "verify", "--config", g.configFile())
	if code != exitOK && code != exitFailed {
		t.Errorf("verify ended with %d: %s%s", code, out, errs)
	}
	g.start()
	d := consumer.await(&b.acked, 2*time.Second)
	b.back(t, g)
	if code := g.stop(); code != exitOK {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	said := missing(g.log())
	repaired, list, errs := cli(t, g.dir, "spool", "repair", "--config", g.configFile(), "--set", "spool.dir="+second)
	if n := missing(list); repaired != exitOK || n != said {
		t.Errorf("repair ended with %d and reports %d missing messages, the gateway %d: %s%s", repaired, n, said, list, errs)
	}
	if n := missing(out); n != said {
		t.Errorf("verify reports %d missing messages, the gateway %d: %s", n, said, out)
	}
	t.Logf("%s: verify %d; %d of %d messages missing, %d reported", file, code, d.Lost, b.acked.Len(), said)
	if d.Lost != said {
		t.Errorf("%d messages are missing, such as %v, but %d are reported", d.Lost, d.Sample, said)
	}
	if d.Lost > 0 && code != exitFailed {
		t.Errorf("verify called it sound (exit code %d):\n%s", code, out)
	}
	if d.Lost > int64(b.limit) {
		t.Errorf("%d messages are missing, but one generation holds at most %d", d.Lost, b.limit)
	}
	if n := consumer.late.Load(); n > 0 {
		t.Errorf("%d messages arrived out of order", n)
	}
}

var missingLine = regexp.MustCompile(`(\d+) records missing`)

// missing sums what a log or a report says is missing.
func missing(text string) (n int64) {
	for _, m := range missingLine.FindAllStringSubmatch(text, -1) {
		if v, err := strconv.ParseInt(m[1], 10, 64); err == nil {
			n += v
		}
	}
	return n
}
