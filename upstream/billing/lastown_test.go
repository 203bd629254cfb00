package billing

import (
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

// User properties that are others in each message are seen however many devices and
// topics take turns, exactly up to what is followed and about beyond.
func TestChangesOfManyStreams(t *testing.T) {
	const rounds = 60
	for _, streams := range []int{1, 100, mostFollowed, 600, 3000, 20_000} {
		d := daySizes{}
		for round := range rounds {
			for i := range streams {
				topic := fmt.Sprint("dt/", i)
				d.histogram.Add(100, len(topic), 0, false)
				d.note("d", message{name: topic, own: uint64(round*streams+i) | 1<<40})
			}
		}
		n, changes := d.histogram.Own()
		want := int64(streams) * (rounds - 1)
		off := float64(changes-want) / float64(want)
		if n != int64(streams)*rounds || streams <= mostFollowed && changes != want || off < -0.25 || off > 0.25 || len(d.last.own) > mostFollowed {
			t.Errorf("%d streams: %d changes in %d messages, want about %d; %d are followed", streams, changes, n, want, len(d.last.own))
		}
	}
}

// Properties that stay are no changes.
func TestPropertiesThatStay(t *testing.T) {
	d := daySizes{}
	for i := range 30_000 {
		topic := fmt.Sprint("dt/", i%3000)
		d.histogram.Add(100, len(topic), 0, false)
		d.note("d", message{name: topic, own: sizes.Hash(1, topic) | 1})
	}
	if _, changes := d.histogram.Own(); changes != 0 {
		t.Errorf("%d changes", changes)
	}
}
