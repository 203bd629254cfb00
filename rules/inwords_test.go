package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/rules/shape"
)

func TestARouteInWords(t *testing.T) {
	for _, c := range []struct {
		name        string
		edit        func(*UpRoute)
		sends, does string
	}{
		{"plain", func(*UpRoute) {}, "${topic}", ""},
		{"Basic Ingest", func(u *UpRoute) { u.BasicIngest = "store" }, "$aws/rules/store/${topic}", ""},
		{"all", func(u *UpRoute) {
			u.Where, u.Sample = "size > 3", SampleOptions{OneIn: 10, Every: time.Minute}
			u.Steps.Deadband.Field, u.Steps.Window.Every = "temp", time.Hour
			u.Steps.Batch.Format, u.Steps.Compress, u.Steps.Split, u.Steps.Divert = shape.JSON, shape.Gzip, 128<<10, 1<<20
			u.KeepLast, u.LiveFirst, u.TTL = 2, true, 24*time.Hour
		}, "${topic}", "where, one in 10, one every 1m0s, deadband of temp, window of 1h0m0s, batches as json, gzip, split above 128KiB, files above 1MiB, the last 2, live first, for 24h0m0s"},
	} {
		u := DefaultUpRoute()
		c.edit(&u)
		if got := strings.Join(u.InWords(), ", "); u.Sends() != c.sends || got != c.does {
			t.Errorf("%s: %s: %s\nwant %s: %s", c.name, u.Sends(), got, c.sends, c.does)
		}
	}
}
