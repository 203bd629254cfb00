package main

import (
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if values[0] != 4 {
		t.Error("the values were sorted in place")
	}
	if median(nil) != 0 || median([]float64{7}) != 7 {
		t.Error("the median of none or of one")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0.234: "0.23", 9.999: "10.00", 12.34: "12.3", 123.4: "123", 1234567: "1,234,567", -1234: "-1,234", 999.6: "1,000"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestProportion(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 1.02: "1.02", 0.01: "0.01", 0.000_21: "1/4,762", 25: "25.0"} {
		if got := proportion(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		f    figure
		want string
	}{
		{"no bound", figure{Ours: []float64{1}}, ""},
		{"ratio reached", figure{Ours: []float64{70}, Peer: []float64{100}, Bound: bound{ratioAtLeast, 0.7}}, "met"},
		{"ratio missed", figure{Ours: []float64{69}, Peer: []float64{100}, Bound: bound{ratioAtLeast, 0.7}}, "NOT MET"},
		{"ratio kept", figure{Ours: []float64{25}, Peer: []float64{10}, Bound: bound{ratioAtMost, 2.5}}, "met"},
		{"ratio exceeded", figure{Ours: []float64{26}, Peer: []float64{10}, Bound: bound{ratioAtMost, 2.5}}, "NOT MET"},
		{"value kept", figure{Ours: []float64{1, 2, 9}, Bound: bound{valueAtMost, 2}}, "met"},
		{"value exceeded", figure{Ours: []float64{1, 3, 9}, Bound: bound{valueAtMost, 2}}, "NOT MET"},
		{"nothing measured", figure{Bound: bound{valueAtMost, 2}}, "NOT MEASURED"},
		{"nothing to compare with", figure{Ours: []float64{1}, Bound: bound{ratioAtLeast, 1}}, "NOT MEASURED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.f.verdict(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	r := report{
		Machine: "a machine", Syncs: []float64{1, 2, 3}, Scale: scale{Runs: 3}, Config: map[string]string{"all": "persistence false\n"},
		Figures: []*figure{
			{Item: "a", What: "intake", Unit: "/s", Ours: []float64{1000, 3000, 2000}, Peer: []float64{4000}, With: "mosquitto", Bound: bound{ratioAtLeast, 1}},
			{Item: "e", What: "start", Unit: "s", Ours: []float64{0.5}, Bound: bound{valueAtMost, 2}},
		},
		Notes: []string{"said"}, Failures: []string{"b: lost"},
	}
	var out strings.Builder
	r.print(&out)
	want := `
   what    gateway   min to max      compared with       ratio  target
a  intake  2,000 /s  1,000 to 3,000  mosquitto 4,000 /s  0.50   ratio ≥ 1.00  NOT MET
e  start   0.50 s                                               ≤ 2.00 s      met

one sync   fdatasync of 384 bytes in reserved space, 1,000 a second: median 2.00 ms, p99 2.98 ms (3 samples, taken between the runs)
`
	if got := out.String(); !strings.HasPrefix(got, want[1:]) {
		t.Errorf("printed\n%s\nwant it to begin\n%s", got, want)
	}
	for _, part := range []string{"persistence false", "a machine", "said", "b: lost", "medians of 3"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not told", part)
		}
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"--quick", "--runs", "5", "--messages", "1000", "--only", "a-rate,f"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Runs != 5 || o.Spooled != 1000 || o.Replayed != quick.Replayed {
		t.Errorf("scale %+v", o.scale)
	}
	for part, want := range map[string]bool{partRate: true, partLatency: false, partForward: false, partFill: true, partDay: true, partSpace: false} {
		if o.wants(part) != want {
			t.Errorf("%s is wanted: %v", part, !want)
		}
	}
	if o, err = parseOptions(nil); err != nil || o.scale != whole || !o.wants(partSpace) || o.wants(partFile, partFlood) || o.Runs < 7 || o.Spooled != 1_000_000 {
		t.Errorf("the defaults are %+v, %v", o, err)
	}
	for _, args := range [][]string{{"--only", "h"}, {"--runs", "-1"}, {"x"}, {"--nothing"}} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestSlowSyncs(t *testing.T) {
	if got := slowSyncs(0); len(got) != 0 {
		t.Errorf("no delay, but %q", got)
	}
	if got := strings.Join(slowSyncs(5*time.Millisecond), " "); !strings.Contains(got, "delay_exit=5000") {
		t.Errorf("5 ms are %q; strace counts microseconds", got)
	}
}
