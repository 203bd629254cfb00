package folder

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// A name that the file system does not take is the file's fault, which holds nobody up,
// and the text says what to do; nothing of it is left.
func TestLongName(t *testing.T) {
	d := opened(t, Options{Dir: t.TempDir(), Layout: "dev-${clientid}/${fileid}/${name}"})
	f := file(strings.Repeat("c", 255), "f", "a.txt", "hello")
	_, err := d.Put(t.Context(), f)
	if !bridge.OfFile(err) || !strings.Contains(err.Error(), "shorten file_transfer.export.layout") || len(err.Error()) > 500 {
		t.Errorf("%v", err)
	}
	f.ClientID = f.ClientID[:251]
	place, err := d.Put(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, d.dir+"/"+place, "hello")
}
