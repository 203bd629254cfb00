package rules

import (
	"testing"

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
