package upstream

import (
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

func paths(problems []bridge.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.Path)
	}
	return out
}

func TestLimitsValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Limits)
		want   []string
	}{
		{"defaults", func(*Limits) {}, nil},
		{"unlimited", func(l *Limits) { l.MessagesPerSecond, l.BytesPerSecond = 0, 0 }, nil},
		{"negative rate", func(l *Limits) { l.MessagesPerSecond = -1 }, []string{"messages_per_second"}},
		{"standstill", func(l *Limits) { l.MessagesPerSecond = 0.001 }, []string{"messages_per_second"}},
		{"no burst", func(l *Limits) { l.Burst = 0 }, []string{"burst"}},
		{"few bytes", func(l *Limits) { l.BytesPerSecond = 100 }, []string{"bytes_per_second"}},
		{"nothing in flight", func(l *Limits) { l.InFlight = 0 }, []string{"in_flight"}},
		{"all at once", func(l *Limits) { *l = Limits{-1, -1, -1, 1 << 20} },
			[]string{"messages_per_second", "burst", "bytes_per_second", "in_flight"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := DefaultLimits()
			c.change(&l)
			if got := paths(l.Validate()); !slices.Equal(got, c.want) {
				t.Errorf("problems at %v, want %v", got, c.want)
			}
		})
	}
}

func TestBackoffValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		o    BackoffOptions
		want []string
	}{
		{"defaults", DefaultBackoff(), nil},
		{"all at once", BackoffOptions{Base: 0, Max: -1, Floor: -1}, []string{"base", "max", "floor"}},
		{"max below base", BackoffOptions{Base: time.Minute, Max: time.Second}, []string{"max"}},
		{"floor without end", BackoffOptions{Base: time.Second, Max: time.Second, Floor: time.Hour}, []string{"floor"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := paths(c.o.Validate()); !slices.Equal(got, c.want) {
				t.Errorf("problems at %v, want %v", got, c.want)
			}
		})
	}
}
