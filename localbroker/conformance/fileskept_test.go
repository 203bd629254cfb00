package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestKeepFor: what was exported to a folder goes when it has been there for its time,
// over a restart too; what has an expire_at goes by that, what nobody exported stays,
// and without a time everything does.
func TestKeepFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keep              time.Duration
		expire            string
		early, late, last []string // what is there at the start, after 40 days, after 80 days
	}{
		"for ever":           {0, "keep", []string{"dated", "plain", "theirs"}, []string{"dated", "plain", "theirs"}, []string{"dated", "plain", "theirs"}},
		"kept":               {960 * time.Hour, "keep", []string{"dated", "plain", "theirs"}, []string{"theirs"}, []string{"theirs"}},
		"the device's date":  {960 * time.Hour, "remove", []string{"dated", "plain", "theirs"}, []string{"dated", "theirs"}, []string{"theirs"}},
		"only of the device": {0, "remove", []string{"dated", "plain", "theirs"}, []string{"dated", "plain", "theirs"}, []string{"plain", "theirs"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDepot(t, func(s *depotSetup) {
				s.Export.KeepFor, s.Export.ExpireAt, s.folder.Layout = c.keep, c.expire, "${clientid}/${fileid}/${name}"
			})
			s := d.sends(5, "c1")
			for file, init := range map[string]string{"plain": `{"name":"a"}`, "dated": fmt.Sprintf(`{"name":"a","expire_at":%d}`, d.clock.now().Add(60*24*time.Hour).Unix())} {
				s.ok("$file/"+file+"/init", init)
				s.ok("$file/"+file+"/0", "hello")
				s.ok("$file/"+file+"/fin/5", "")
			}
			d.exportsEnd()
			theirs := filepath.Join(d.exports, "c1", "theirs")
			if err := os.MkdirAll(theirs, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(theirs, "a"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			there := func(when string, want []string) {
				t.Helper()
				d.service.Sweep()
				var got []string
				for _, path := range d.exported() {
					got = append(got, filepath.Base(filepath.Dir(path)))
				}
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("%s there is %q, want %q", when, got, want)
				}
			}
			d.clock.advance(39 * 24 * time.Hour)
			there("before its time", c.early)
			d.restart()
			there("after a restart", c.early)
			d.clock.advance(25 * time.Hour)
			there("after its time", c.late)
			d.clock.advance(40 * 24 * time.Hour)
			there("after the device's", c.last)
			if _, err := os.Stat(filepath.Join(d.exports, "c1", "plain", "a.MANIFEST.json")); os.IsNotExist(err) == slices.Contains(c.last, "plain") {
				t.Errorf("the manifest: %v", err)
			}
		})
	}
}

// exportsEnd waits until all that fin has taken is exported.
func (d *depot) exportsEnd() {
	d.tb.Helper()
	eventually(d.tb, "all is exported", func() bool {
		all, _ := d.service.Running("", 100)
		return len(all) == 0
	})
}
