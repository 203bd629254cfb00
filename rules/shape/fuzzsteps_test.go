package shape

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// FuzzReading gives the steps that read payloads whatever devices publish. Every
// message must come out as a member of one product, and what a window says of them
// must be JSON with finite numbers.
func FuzzReading(f *testing.F) {
	for _, payload := range []string{
		`{"v":21.5}`, `{"v":-1e308}`, `{"v":1.7976931348623157e308}`, `{"v":5e-324}`, `{"v":1e999}`, `{"v":"x"}`, "[1]", "21", "", "x",
		"\xa1\x61v\xf9\x7e\x00", "\xa1\x61v\xf9\x7c\x00", "\xa1\x61v\xfb\x7f\xef\xff\xff\xff\xff\xff\xff",
		"\xa1\x61v\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", strings.Repeat("[", 20_000),
	} {
		f.Add([]byte(payload), []byte(`{"v":1}`), "v", true)
		f.Add([]byte(payload), []byte(`{"v":-1.7976931348623157e308}`), "v", false)
	}
	f.Fuzz(func(t *testing.T, first, second []byte, field string, drop bool) {
		window, band := DefaultOptions(), DefaultOptions()
		window.Window = Window{Every: time.Minute, Fields: []string{field, "."}}
		band.Deadband = Deadband{Field: field, Absolute: 0.5, Percent: 10}
		for _, o := range []Options{window, band} {
			if len(o.Validate(Around{})) > 0 {
				return
			}
			b := &bench{t: t, line: New(o, drop, queue, Unit), size: map[bridge.Place]int{}}
			for i, p := range [][]byte{first, second, first, second, []byte(`{"v":2}`)} {
				b.give(reading("dt/a", string(p), time.Duration(i)*time.Second))
			}
			for b.ripe(time.Hour); b.again(); b.ripe(2 * time.Hour) {
			}
			b.settled()
			for _, p := range b.out {
				for _, r := range p.Records {
					if r.ContentType == typeJSON && !json.Valid(r.Payload) {
						t.Fatalf("a window is %q", r.Payload)
					}
				}
			}
		}
	})
}
