package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// Messages for steps wait in the raw queue of their route. Sparkplug's pass them
// by, unless the route names them.
func TestStepsTakeTheRawQueue(t *testing.T) {
	table := compile(t, func(o *Options) {
		all, named, plain := up("all", "#", ""), up("sparkplug", "spBv1.0/named/#", ""), up("plain", "p/#", "")
		all.Steps.Batch.Format, named.Steps.Compress = shape.JSON, shape.Gzip
		o.Up = []UpRoute{named, plain, all}
	})
	for topic, want := range map[string]string{
		"dt/a":                  "raw/up/aws/all",
		"p/a":                   "up/aws/plain",
		"spBv1.0/named/NDATA/n": "raw/up/aws/sparkplug",
		"spBv1.0/other/NDATA/n": "up/aws/all",
		"spBv1.0x/a":            "raw/up/aws/all",
	} {
		got, err := table.Up(device("c", ""), message(topic))
		if err != nil || len(got) != 1 || got[0].Queue != want {
			t.Errorf("%s goes to %+v, %v, want %s", topic, got, err, want)
		}
	}
	shaped := table.Shaped()
	if len(shaped) != 2 || shaped[0].Queue != "up/aws/sparkplug" || shaped[1].Queue != "up/aws/all" || shaped[1].Upstream != "aws" {
		t.Errorf("routes with steps are %+v", shaped)
	}
}

// What steps make of several messages goes together, but where the topic at the
// upstream names the device. Then nothing is made of several devices' messages.
func TestWhatIsMixedGoesTogether(t *testing.T) {
	batch := func(o *shape.Options) { o.Batch.Format, o.Batch.Count = shape.JSON, 2 }
	window := func(o *shape.Options) { o.Window = shape.Window{Every: time.Minute, Fields: []string{"v"}} }
	for _, c := range []struct {
		topic    string
		steps    func(*shape.Options)
		together bool
	}{
		{"site1/telemetry", batch, true},
		{"${topic}", batch, true},
		{"${topic[1]}/all", window, true},
		{"${client_id}/telemetry", batch, false},
		{"things/${thing_name}", batch, false},
		{"things/${thing_name}", window, false},
		{"site1/telemetry", func(o *shape.Options) { o.Compress = shape.Gzip }, false},
		{"site1/telemetry", func(*shape.Options) {}, false},
	} {
		table := compile(t, func(o *Options) {
			r := up("all", "dt/#", c.topic)
			c.steps(&r.Steps)
			o.Up, o.Own = []UpRoute{r}, map[string][]string{"aws": {"press"}}
		})
		for _, q := range table.Queues() {
			if q.Together != c.together {
				t.Errorf("%s of %+v: together is %v", q.Name, c, q.Together)
			}
		}
		for _, s := range table.Shaped() {
			if s.apart == c.together && s.Steps.Mixes() {
				t.Errorf("%s of %+v: devices stay apart: %v", s.Queue, c, s.apart)
			}
		}
	}
}

// queues lists where a message goes.
func queues(t *testing.T, router bridge.Router, m *bridge.Message) string {
	t.Helper()
	to, _, err := router.Up(device("press-7", "press"), m)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range to {
		out = append(out, r.Queue)
	}
	return strings.Join(out, " ")
}

// A route whose condition does not hold leaves the message to the next one. One
// that cannot be decided is told of, and taken or not as the route says.
func TestWhere(t *testing.T) {
	build := func(match string) *Router {
		return NewRouter(compile(t, func(o *Options) {
			o.Match = match
			hot, strict, rest := up("hot", "dt/#", ""), up("strict", "dt/+/s", ""), up("rest", "#", "")
			hot.Where = `payload.temp > 80 && levels[1] == client_id`
			strict.Where, strict.OnError = `payload.v == 1`, "drop"
			o.Up = []UpRoute{hot, strict, rest}
		}))
	}
	for _, c := range []struct {
		topic, payload, first, all string
		undecided                  []string
	}{
		{"dt/press-7", `{"temp":90}`, "up/aws/hot", "up/aws/hot up/aws/rest", nil},
		{"dt/press-8", `{"temp":90}`, "up/aws/rest", "up/aws/rest", nil},
		{"dt/press-7", `{"temp":20}`, "up/aws/rest", "up/aws/rest", nil},
		{"dt/press-7", `no JSON`, "up/aws/hot", "up/aws/hot up/aws/rest", []string{"hot"}},
		{"dt/x/s", `{"temp":1,"v":1}`, "up/aws/strict", "up/aws/strict up/aws/rest", nil},
		{"dt/x/s", `{"temp":1}`, "up/aws/rest", "up/aws/rest", []string{"strict"}},
		{"spBv1.0/g/NDATA/n", "\x00", "up/aws/rest", "up/aws/rest", nil},
	} {
		for match, want := range map[string]string{"first": c.first, "all": c.all} {
			r := build(match)
			var told []string
			r.OnUndecided(func(route string, _ error) { told = append(told, route) })
			m := message(c.topic)
			m.Payload = []byte(c.payload)
			if got := queues(t, r, m); got != want || !slices.Equal(told, c.undecided) {
				t.Errorf("%s: %s %s goes to %q, want %q; told of %q, want %q", match, c.topic, c.payload, got, want, told, c.undecided)
			}
		}
	}
}

// A condition does not hide a later route.
func TestWhereHidesNothing(t *testing.T) {
	ps := options(func(o *Options) {
		hot := up("hot", "dt/#", "")
		hot.Where = "size > 10"
		o.Up = []UpRoute{hot, up("rest", "dt/#", "")}
	}).Validate()
	if len(ps) > 0 {
		t.Errorf("got %v", ps)
	}
}

func TestSample(t *testing.T) {
	table := compile(t, func(o *Options) {
		s := up("sample", "dt/#", "")
		s.Sample.OneIn = 3
		o.Up = []UpRoute{s, up("rest", "#", "")}
	})
	taken := map[string]int{}
	for i := range 90 {
		m := message(fmt.Sprint("dt/", i%2))
		if q := queues(t, NewRouter(table), m); q != "" {
			taken[m.Topic]++
			if q != "up/aws/sample" {
				t.Fatalf("what the sample leaves out goes to %s", q)
			}
		}
	}
	if taken["dt/0"] != 15 || taken["dt/1"] != 15 {
		t.Errorf("of 45 each, one in 3, %v were taken", taken)
	}
	request := message("dt/0")
	request.ResponseTopic = "dt/0/answer"
	for range 4 {
		if queues(t, NewRouter(table), request) == "" {
			t.Error("a request was left out")
		}
	}
}

func TestSampleByTime(t *testing.T) {
	s := newSampler(SampleOptions{Every: 10 * time.Second})
	taken := 0
	for now := time.Duration(0); now < time.Minute; now += time.Second {
		if s.at("dt/a", now) {
			taken++
		}
		if other := s.at("dt/b", now); other != (now%(10*time.Second) == 0) {
			t.Errorf("the other topic at %v: %v", now, other)
		}
	}
	if taken != 6 {
		t.Errorf("%d of 60 were taken, one in 10 s is 6", taken)
	}
}

// A sampler forgets topics rather than grow, and then takes their next message.
func TestSamplerIsBounded(t *testing.T) {
	s := newSampler(SampleOptions{OneIn: 1000})
	for i := range 2 * sampleShards * shardTopics {
		if !s.at(fmt.Sprint(i), 0) {
			t.Fatal("the first message of a topic was left out")
		}
	}
	n := 0
	for i := range s.shards {
		n += len(s.shards[i].topics)
	}
	if n > sampleShards*shardTopics {
		t.Errorf("%d topics are remembered", n)
	}
}

// G10: Basic Ingest takes the message line off the bill.
func TestBasicIngest(t *testing.T) {
	table := compile(t, func(o *Options) {
		b := up("ingest", "#", "plant/${topic}")
		b.BasicIngest, b.Steps.Compress = "Store_1", shape.Gzip
		o.Up = []UpRoute{b}
	})
	for topic, want := range map[string]string{
		"dt/a":              "raw/up/aws/ingest $aws/rules/Store_1/plant/dt/a",
		"spBv1.0/g/NDATA/n": "up/aws/ingest plant/spBv1.0/g/NDATA/n",
	} {
		to, err := table.Up(device("c", ""), message(topic))
		if err != nil || len(to) != 1 || to[0].Queue+" "+to[0].Topic != want {
			t.Errorf("%s goes to %+v, %v, want %s", topic, to, err, want)
		}
	}
}

func BenchmarkWhere(b *testing.B) {
	for name, text := range map[string]string{"none": "", "topic": `levels[1] == client_id`, "payload": `payload.temp > 20`} {
		b.Run(name, func(b *testing.B) {
			table := compile(b, func(o *Options) {
				r := up("r", "dt/#", "")
				r.Where = text
				o.Up = []UpRoute{r}
			})
			p, m := device("press-7", ""), message("dt/press-7")
			m.Payload = []byte(`{"seq":1234567,"temp":21.5,"unit":"C","ok":true}`)
			for b.Loop() {
				if to, err := table.Up(p, m); len(to) != 1 || err != nil {
					b.Fatal(to, err)
				}
			}
		})
	}
}

func BenchmarkSample(b *testing.B) {
	s := newSampler(SampleOptions{OneIn: 10})
	for b.Loop() {
		s.take("dt/press-7")
	}
}
