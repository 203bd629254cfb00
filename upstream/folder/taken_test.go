package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A file never takes the place of another, nor does its manifest: it is refused for what
// it is, and goes when the other has been taken away (F34). One that is there already
// counts as put, and gets the manifest that it lacks.
func TestAnotherInItsPlace(t *testing.T) {
	const manifest = `["filemeta",1,{"name":"a.txt"}]`
	for name, renamed := range map[string]bool{"copied": false, "renamed": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := opened(t, Options{Dir: filepath.Join(dir, "exports"), Layout: "${clientid}/${fileid}/${name}"})
			segments, place := filepath.Join(dir, "segments"), filepath.Join(dir, "exports", "c", "f", "a.txt")
			put := func(content, user string) error {
				t.Helper()
				f := file("c", "f", "a.txt", content)
				f.Meta = []byte(`{"name":"a.txt"` + user + `}`)
				if renamed {
					f.Path = segments
					if err := os.WriteFile(segments, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				_, err := d.Put(t.Context(), f)
				return err
			}
			if err := put("hello", ""); err != nil {
				t.Fatal(err)
			}
			for _, other := range []string{"hellO", "hello, but longer"} {
				if err := put(other, `,"user_data":1`); !bridge.OfFile(err) || !strings.Contains(err.Error(), "c/f/a.txt") || !strings.Contains(err.Error(), "ebbgate files retry") {
					t.Errorf("%v", err)
				}
				if renamed {
					wantText(t, segments, other)
				}
			}
			wantText(t, place, "hello")
			if err := put("hello", `,"user_data":2`); err != nil {
				t.Error(err)
			}
			wantText(t, place+bridge.ManifestSuffix, manifest)
			if err := os.Remove(place + bridge.ManifestSuffix); err != nil {
				t.Fatal(err)
			}
			if err := put("hello", ""); err != nil {
				t.Error(err)
			}
			wantText(t, place+bridge.ManifestSuffix, manifest)
			if err := os.Rename(place, place+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("a.txt.old", place); err != nil {
				t.Fatal(err)
			}
			if err := put("hello", ""); !bridge.OfFile(err) {
				t.Errorf("a link: %v", err)
			}
			if err := os.Remove(place); err != nil {
				t.Fatal(err)
			}
			if err := put("other", ""); err != nil {
				t.Error(err)
			}
			wantText(t, place, "other")
		})
	}
}
