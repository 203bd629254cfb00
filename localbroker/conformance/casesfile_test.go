package conformance

import (
	"crypto/sha1" //nolint:gosec // names a folder as EMQX does
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// fileWanted is a file that is to be in the folder of exports, or is not. What a case
// does not say of it is not compared.
type fileWanted struct {
	ClientID, FileID, Name string
	Size                   *int64
	SHA256, RelPath        string
	Key                    string `json:"s3_key"`
	Count                  int
	Content                *string        `json:"content_b64"`
	Meta                   map[string]any `json:"metadata"` // of its manifest
}

// place is where it is: as the case says, else as EMQX would have it (§5).
func (w *fileWanted) place() string {
	if w.RelPath != "" {
		return w.RelPath
	}
	term := []byte{0x83, 0x68, 0x02}
	for _, s := range []string{w.ClientID, w.FileID} {
		term = append(binary.BigEndian.AppendUint32(append(term, 0x6d), uint32(len(s))), s...)
	}
	sum := sha1.Sum(term) //nolint:gosec // see above
	h := strings.ToUpper(hex.EncodeToString(sum[:]))
	return path.Join(h[:2], h[2:4], h[4:], bridge.EscapeID(w.ClientID), bridge.EscapeID(w.FileID), w.Name)
}

func (b *uploadBed) expectFile(raw json.RawMessage) {
	b.t.Helper()
	want := must[fileWanted](b.t, raw)
	if want.RelPath == "" && (want.ClientID == "" || want.FileID == "" || want.Name == "") {
		b.t.Fatalf("file: %s says neither relpath nor clientid, fileid and name", raw)
	}
	if key := bridge.EscapeID(want.ClientID) + "/" + bridge.EscapeID(want.FileID) + "/" + want.Name; want.Key != "" && key != want.Key {
		b.t.Errorf("in a bucket it would be %s, want %s", key, want.Key)
	}
	place := filepath.Join(b.exports, filepath.FromSlash(want.place()))
	eventually(b.t, "the file "+want.place(), func() bool {
		_, err := os.Stat(place)
		return err == nil
	})
	content, err := os.ReadFile(place)
	if err != nil {
		b.t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	switch {
	case want.SHA256 != "" && !strings.EqualFold(hex.EncodeToString(sum[:]), want.SHA256),
		want.Size != nil && int64(len(content)) != *want.Size,
		want.Name != "" && filepath.Base(place) != want.Name,
		want.Content != nil && string(payload(b.t, map[string]json.RawMessage{"payload_b64": quoted(*want.Content)})) != string(content):
		b.t.Errorf("%s has %d bytes, %x, want %s", place, len(content), sum, raw)
	}
	manifest, err := os.ReadFile(place + ".MANIFEST.json")
	if err != nil {
		b.t.Error(err)
	}
	if want.Meta != nil {
		var all []any
		if err := json.Unmarshal(manifest, &all); err != nil || len(all) != 3 || !holds(all[2], map[string]any(want.Meta)) {
			b.t.Errorf("the manifest is %s, want %v", manifest, want.Meta)
		}
	}
	if got := b.filesOf(path.Dir(want.place())); want.Count > 0 && len(got) != want.Count {
		b.t.Errorf("%d files, want %d: %q", len(got), want.Count, got)
	}
}

// filesOf are the exported files in a folder.
func (b *uploadBed) filesOf(folder string) []string {
	return slices.DeleteFunc(b.exported(), func(p string) bool { return path.Dir(p) != folder })
}

func (b *uploadBed) expectNoFile(raw json.RawMessage) {
	b.t.Helper()
	var not fileWanted
	switch {
	case strings.HasPrefix(string(raw), "{"):
		not = must[fileWanted](b.t, raw) // without any, there are none at all
	case unquoted(raw) != "":
		not.RelPath = unquoted(raw)
	case string(raw) != "true":
		b.t.Fatalf("no_file: %s says nothing", raw)
	}
	part := "/"
	for _, id := range []string{not.ClientID, not.FileID} {
		if id != "" {
			part += bridge.EscapeID(id) + "/"
		}
	}
	for _, file := range b.exported() {
		if strings.Contains("/"+file, part) && (not.Name == "" || path.Base(file) == not.Name) && (not.RelPath == "" || file == not.RelPath) {
			b.t.Errorf("there is %s", file)
		}
	}
	if not.FileID != "" && not.ClientID == "" {
		b.t.Fatal(fmt.Errorf("no_file: %s says a file id, and not whose", raw))
	}
}
