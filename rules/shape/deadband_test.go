package shape

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// sent lists the payloads of what goes on.
func (b *bench) sent() (out []string) {
	for _, p := range b.out {
		for _, r := range p.Records {
			out = append(out, string(r.Payload))
		}
	}
	return out
}

func TestDeadband(t *testing.T) {
	values := []string{"20", "20.4", "20.6", "20.5", "-1", "-1.5", "-1.6"}
	for name, c := range map[string]struct {
		edit func(*Deadband)
		want []string
	}{
		"any change": {func(*Deadband) {}, values},
		"absolute":   {func(d *Deadband) { d.Absolute = 0.5 }, []string{"20", "20.6", "-1", "-1.6"}},
		"percent":    {func(d *Deadband) { d.Percent = 5 }, []string{"20", "-1", "-1.5", "-1.6"}},
		"either":     {func(d *Deadband) { d.Absolute, d.Percent = 0.55, 3 }, []string{"20", "20.6", "-1", "-1.5", "-1.6"}},
		"silence":    {func(d *Deadband) { d.Absolute, d.MaxSilence = 100, 2*time.Second }, []string{"20", "20.6", "-1", "-1.6"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := on(t, func(o *Options) { o.Deadband.Field = "."; c.edit(&o.Deadband) })
			for i, v := range values {
				b.give(reading("dt/a", v, time.Duration(i)*time.Second))
			}
			if got := b.sent(); !slices.Equal(got, c.want) {
				t.Errorf("reported %v, want %v", got, c.want)
			}
			b.settled()
			for _, p := range b.out {
				if len(p.Records) == 0 && (p.Step != "deadband" || p.Reason != "") {
					t.Errorf("what was held back is counted as %q, %q", p.Step, p.Reason)
				}
			}
		})
	}
}

// The largest number stands for none with some devices: what comes after it is reported.
func TestDeadbandOfTheLargestNumbers(t *testing.T) {
	const most = "1.7976931348623157e308"
	for _, c := range []struct {
		name           string
		edit           func(*Deadband)
		values, report []string
	}{
		{"percent, back to a value", func(d *Deadband) { d.Percent = 10 }, []string{"21.5", most, most, "20", "21", "27"}, []string{"21.5", most, "20", "27"}},
		{"percent, across zero", func(d *Deadband) { d.Percent = 150 }, []string{most, "-" + most, "20"}, []string{most, "-" + most}},
		{"absolute, across zero", func(d *Deadband) { d.Absolute = 1e308 }, []string{most, "-" + most, "-1.7e308", "20"}, []string{most, "-" + most, "20"}},
		{"percent beyond all", func(d *Deadband) { d.Percent = 1e300 }, []string{"1e100", "20", "-1e100"}, []string{"1e100"}},
	} {
		b := on(t, func(o *Options) { o.Deadband.Field = "."; c.edit(&o.Deadband) })
		for i, v := range c.values {
			b.give(reading("dt/a", v, time.Duration(i)*time.Second))
		}
		if got := b.sent(); !slices.Equal(got, c.report) {
			t.Errorf("%s: reported %v, want %v", c.name, got, c.report)
		}
	}
}

// Topics are watched each for itself, and what cannot be read goes as it is, or
// is dropped with its reason when the route says so.
func TestDeadbandOfWhatCannotBeRead(t *testing.T) {
	for _, drop := range []bool{false, true} {
		o := DefaultOptions()
		o.Deadband = Deadband{Field: "v", Absolute: 10}
		b := &bench{t: t, line: New(o, drop, queue, Terms{Unit: Unit}), size: map[bridge.Place]int{}}
		for i, payload := range []string{`{"v":1}`, `{"v":2}`, `no JSON`, `{"w":2}`, `{"v":3}`} {
			b.give(reading("dt/a", payload, time.Duration(i)))
		}
		b.give(reading("dt/b", `{"v":2}`, 0))
		request := reading("dt/a", `{"v":1}`, 0)
		request.ResponseTopic = "answer"
		b.give(request)
		b.give(reading("spBv1.0/g/DBIRTH/n/d", `{"v":1}`, 0))
		want := []string{`{"v":1}`, `no JSON`, `{"w":2}`, `{"v":2}`, `{"v":1}`, `{"v":1}`}
		unreadable := 0
		if drop {
			want = slices.Delete(want, 1, 3)
		}
		for _, p := range b.out {
			if p.Reason == "unreadable" {
				unreadable++
			}
		}
		if got := b.sent(); !slices.Equal(got, want) || (unreadable == 2) != drop {
			t.Errorf("drop %v: sent %q, want %q; %d are unreadable", drop, got, want, unreadable)
		}
		b.settled()
	}
}

func TestDeadbandIsBounded(t *testing.T) {
	d := newDeadband(Deadband{Field: ".", Absolute: 1}, false)
	sent := 0
	for i := range 2*maxTopics + 10 {
		s := reading(fmt.Sprint("dt/", i), "1", 0)
		d.take(&item{rec: s.Record, to: s.Receiver}, func(*item) { sent++ })
	}
	if len(d.topics) > maxTopics || sent != 2*maxTopics+10 {
		t.Errorf("%d topics are remembered, %d of %d first messages sent", len(d.topics), sent, 2*maxTopics+10)
	}
}
