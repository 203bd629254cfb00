package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/spool"
)

const shapedQueue = "up/aws/telemetry"

// shapeModel is a spool with a route's steps, and what was accepted.
type shapeModel struct {
	t        *testing.T
	r        *rand.Rand
	dir      string
	s        *spool.Spool
	options  shape.Options
	accepted []string // "topic number", in order
	numbers  int
	windows  bool // windows are among the steps: then sums are compared
}

// TestShapingAgainstModel drives the steps of a route through random records,
// changes of the configuration, and crashes between any two commits. Whatever
// happens, every record is held raw or stands in exactly one product, those of a
// topic in their order (U8).
func TestShapingAgainstModel(t *testing.T) {
	for i := range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &shapeModel{t: t, r: rand.New(rand.NewPCG(seed, 0)), dir: filepath.Join(t.TempDir(), "spool"), windows: i%2 == 1}
			m.configure()
			m.open()
			defer func() { m.close() }()
			for range 25 {
				switch m.r.IntN(6) {
				case 0, 1:
					m.accept()
				case 2, 3:
					m.shape(1 << 30)
				case 4:
					m.shape(m.r.IntN(4))
					m.crash()
				default:
					m.configure()
				}
				m.compare()
				m.follow()
			}
		})
	}
}

// configure chooses other steps.
func (m *shapeModel) configure() {
	o := shape.DefaultOptions()
	o.Batch.Format = oneOf(m, shape.JSON, shape.NDJSON, shape.LengthPrefixed)
	o.Batch.Count = 2 + m.r.IntN(20)
	o.Batch.Size = oneOf(m, bridge.Size(0), 300, 2000)
	o.Batch.Age = oneOf(m, 100*time.Millisecond, time.Hour)
	o.Compress = oneOf(m, shape.None, shape.Gzip, shape.Zstd)
	if m.windows {
		o.Window = shape.Window{Every: oneOf(m, time.Second, time.Hour), Fields: []string{"."}}
		o.Batch.Format = oneOf(m, shape.None, shape.JSON)
		if o.Batch.Format == shape.None {
			o.Batch = shape.DefaultOptions().Batch
		}
	}
	m.options = o
}

func oneOf[T any](m *shapeModel, choices ...T) T { return choices[m.r.IntN(len(choices))] }

func (m *shapeModel) open() {
	o := spool.DefaultOptions()
	o.Dir = m.dir
	s, err := spool.Open(o, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: new(bridge.Health)})
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
}

func (m *shapeModel) close() {
	if err := m.s.Close(); err != nil {
		m.t.Error(err)
	}
}

func (m *shapeModel) accept() {
	b := new(bridge.Batch)
	for range 1 + m.r.IntN(oneOf(m, 60, 900)) {
		topic := oneOf(m, "dt/a", "dt/b", "dt/c")
		m.numbers++
		m.accepted = append(m.accepted, fmt.Sprint(topic, " ", m.numbers))
		r := &bridge.Record{
			Message: bridge.Message{Topic: topic, Payload: []byte(fmt.Sprint(m.numbers)), QoS: 1},
			Origin:  bridge.Origin{Device: "d", Instant: bridge.Instant{Age: m.s.Age()}},
		}
		r.ID = numberedID(m.numbers)
		r.Receivers = []bridge.Receiver{{Queue: bridge.RawQueue(shapedQueue), Topic: topic, QoS: 1}}
		b.Append(r)
	}
	commit(m.t, m.s, b)
}

// dying is a spool that takes a number of commits and then none.
type dying struct {
	bridge.Spool
	left  atomic.Int64
	dead  chan struct{}
	ahead time.Duration // of the clock that the stage is shown
}

func (d *dying) Age() time.Duration { return d.Spool.Age() + d.ahead }

func (d *dying) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	if d.left.Add(-1) < 0 {
		select {
		case d.dead <- struct{}{}:
		default:
		}
		done(0, bridge.Errorf("commit", bridge.Unavailable, "dead"))
		return
	}
	d.Spool.Commit(b, done)
}

// shape runs the route's stage once through, or until it has made a number of
// commits.
func (m *shapeModel) shape(commits int) {
	d := &dying{Spool: m.s, dead: make(chan struct{}, 1), ahead: oneOf(m, 0, 5*time.Second, 2*time.Hour)}
	d.left.Store(int64(commits))
	resting := make(chan struct{}, 1)
	sh := bridge.NewShaper(bridge.ShaperConfig{
		Queue: shapedQueue,
		Line: func() bridge.Line {
			return &restLine{shape.New(m.options, false, shapedQueue, shape.Terms{Unit: shape.Unit}), resting}
		},
	}, d, m.drops(d), new(bridge.Health), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- sh.Run(ctx) }()
	select {
	case <-resting:
	case <-d.dead:
	}
	cancel()
	if err := <-ended; err != nil {
		m.t.Fatal(err)
	}
}

// restLine tells when the line has been asked what is ripe. What it gives then is
// committed before the stage ends.
type restLine struct {
	bridge.Line
	resting chan struct{}
}

func (l *restLine) Ripe(now time.Duration, out func(*bridge.Product)) (time.Duration, bool) {
	select {
	case l.resting <- struct{}{}:
	default:
	}
	return l.Line.Ripe(now, out)
}

// crash goes on with a copy of the folder as it is now.
func (m *shapeModel) crash() {
	to := filepath.Join(m.t.TempDir(), "spool")
	for range 100 {
		before := contents(m.dir)
		if err := os.RemoveAll(to); err != nil {
			m.t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(m.dir)); err == nil && contents(m.dir) == before {
			break
		}
	}
	m.close()
	m.dir = to
	m.open()
}

// contents is the names and sizes of a folder.
func contents(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if fi, err := e.Info(); err == nil {
				fmt.Fprintln(&b, path, fi.Size())
			}
		}
		return nil
	})
	return b.String()
}

// compare holds what is raw and what is in products against what was accepted.
func (m *shapeModel) compare() {
	m.settle()
	got := map[string][]string{}
	raw := int64(0)
	for _, queue := range []string{shapedQueue, bridge.RawQueue(shapedQueue)} {
		m.each(queue, func(r *bridge.Stored) {
			out := bridge.Outgoing(r)
			d := shape.Decoder{Batch: shape.Auto}
			if queue != shapedQueue {
				d.Batch = shape.None
				raw++
			}
			in := shape.Received{Topic: out.Topic, Payload: out.Payload, ContentType: out.ContentType, User: out.User}
			err := d.Decode(in, func(one shape.Decoded) error {
				got[one.Topic] = append(got[one.Topic], string(one.Payload))
				return nil
			})
			if err != nil {
				m.t.Fatal(err)
			}
		})
	}
	want := map[string][]string{}
	for _, a := range m.accepted {
		topic, number, _ := strings.Cut(a, " ")
		want[topic] = append(want[topic], number)
	}
	if m.windows {
		if got, want := m.sums(got), m.sums(want); got != want {
			m.t.Fatalf("held and made are %s, accepted %s", got, want)
		}
	} else if fmt.Sprint(got) != fmt.Sprint(want) {
		m.t.Fatalf("held and made are\n%v\naccepted\n%v", got, want)
	}
	all, err := bridge.ReadShaped(m.s)
	if err != nil {
		m.t.Fatal(err)
	}
	if sum := raw + m.s.Depth(shapedQueue).Records + all[shapedQueue].Consumed(); sum != int64(len(m.accepted)) {
		m.t.Fatalf("held and consumed are %d of %d accepted: %+v", sum, len(m.accepted), all[shapedQueue])
	}
}

// sums is how many values there are of each topic, and their sum: single ones, and
// those in windows and in parts of windows.
func (m *shapeModel) sums(payloads map[string][]string) string {
	count, sum := map[string]int64{}, map[string]int64{}
	for topic, all := range payloads {
		for _, p := range all {
			var w struct {
				Count  int64
				Fields map[string]struct{ Avg, Mean float64 }
			}
			n, err := strconv.ParseInt(p, 10, 64)
			w.Count = 1
			if err != nil {
				if err := json.Unmarshal([]byte(p), &w); err != nil {
					m.t.Fatalf("%q: %v", p, err)
				}
				n = int64(math.Round((w.Fields["."].Avg + w.Fields["."].Mean) * float64(w.Count)))
			}
			count[topic] += w.Count
			sum[topic] += n
		}
	}
	return fmt.Sprint(count, sum)
}

// settle waits until the releases of batches that append are seen.
func (m *shapeModel) settle() {
	var b bridge.Batch
	b.Add("test", "settled", 1)
	commit(m.t, m.s, &b)
}

// each reads a queue.
func (m *shapeModel) each(queue string, fn func(*bridge.Stored)) {
	c := m.s.Cursor(queue)
	defer c.Close()
	for {
		r, err := c.Next()
		if err != nil {
			m.t.Fatal(err)
		}
		if r == nil {
			return
		}
		fn(r)
	}
}
