package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker/upload"
	"github.com/ebbgate/ebbgate/upstream/folder"
)

// handing makes the file path of a gateway that exports to a folder, and runs file
// transfer until the test ends.
func handing(t *testing.T, edit func(*configs.FileTransfer)) (h *handed, exports string) {
	t.Helper()
	_, cfg := spooled(t)
	s := openSpool(t, cfg)
	drops, err := bridge.OpenDropLog(s, bridge.NewClock(s.Age, nil).Now, bridge.DefaultDropLimits())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := configs.DefaultFileTransfer()
	o.Enabled, o.Dir, o.Headroom = true, filepath.Join(dir, "files"), 32<<20
	o.MaxSegment, o.Export.Folder.Dir = 1<<10, filepath.Join(dir, "exports")
	edit(&o)
	target, err := folder.Open(o.Export.Folder, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	service, err := upload.Open(o.Upload(), upload.Deps{
		Shelf: s, Target: target, Tell: func(m *bridge.Message) { t.Errorf("a response on %s, and nobody has asked", m.Topic) },
		Drops: drops, Health: new(bridge.Health), Log: slog.New(slog.DiscardHandler), Messages: func() int64 { return 0 },
		Wall: func() (time.Time, bool) { return time.Now(), true },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		for _, err := range []error{<-ended, target.Close(), s.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return newHanded(service, target, o), o.Export.Folder.Dir
}

func largeFile(id, content string) *bridge.File {
	return &bridge.File{
		ClientID: "cam", FileID: id, Name: "image-" + id, Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content)),
		Meta: fmt.Appendf(nil, `{"name":"image-%s"}`, id), Content: bytes.NewReader([]byte(content)),
	}
}

// What is handed over again, before or after it was exported, is one file, and its
// place is known before it is there.
func TestHandedOverOnce(t *testing.T) {
	h, exports := handing(t, func(*configs.FileTransfer) {})
	content := strings.Repeat("0123456789", 1000) // ten segments
	var place string
	for i := range 5 {
		uri, err := h.Hand(t.Context(), largeFile("f", content))
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "file" || place != "" && u.Path != place {
			t.Fatalf("hand-over %d: %q, %v", i, uri, err)
		}
		place = u.Path
		for i%2 == 0 { // exported
			if got, err := os.ReadFile(place); err == nil && string(got) == content {
				break
			}
			select {
			case <-t.Context().Done():
				t.Fatal("it is not exported")
			case <-time.After(time.Millisecond):
			}
		}
	}
	files := 0
	if err := filepath.WalkDir(exports, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, bridge.ManifestSuffix) {
			files++
		}
		return err
	}); err != nil || files != 1 {
		t.Errorf("%d files, %v", files, err)
	}
	if _, err := h.Hand(t.Context(), largeFile("f", "another")); !bridge.OfFile(err) {
		t.Errorf("another file of the same id: %v, want an error that stays", err)
	}
}

// What is refused is refused for good or for now, and says which setting it is.
func TestHandedOverWithinBounds(t *testing.T) {
	h, _ := handing(t, func(o *configs.FileTransfer) { o.MaxFile = 2 << 10 })
	if _, err := h.Hand(t.Context(), largeFile("large", strings.Repeat("x", 3<<10))); !bridge.OfFile(err) || !strings.Contains(fmt.Sprint(err), "max_file") {
		t.Errorf("a file that is too large: %v", err)
	}
	h, _ = handing(t, func(o *configs.FileTransfer) { o.MaxClientSize = 2 << 10 })
	if _, err := h.Hand(t.Context(), largeFile("quota", strings.Repeat("x", 3<<10))); err == nil || bridge.OfFile(err) || !strings.Contains(err.Error(), "max_client_size") {
		t.Errorf("a file above a quota: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	h.take = func(upload.Request, func(error)) {} // never answers
	if _, err := h.Hand(ctx, largeFile("f", "x")); err == nil || bridge.OfFile(err) {
		t.Errorf("a hand-over that was ended: %v", err)
	}
}

// A store that is gone is named, with what to do about it.
func TestHandedOverWithoutAStore(t *testing.T) {
	var dir string
	h, _ := handing(t, func(o *configs.FileTransfer) { dir = o.Dir })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, err := h.Hand(t.Context(), largeFile("f", "x"))
	if err == nil || bridge.OfFile(err) || !strings.Contains(err.Error(), "enoent: the folder of file_transfer.dir, "+dir) || !strings.Contains(err.Error(), "mount it or make it again") {
		t.Errorf("without its store: %v", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Hand(t.Context(), largeFile("g", "x")); err != nil {
		t.Errorf("with its store made again: %v", err)
	}
	for word, part := range map[string]string{"erofs": "cannot be written", "eacces": "give it to the user", "eio": "fails", "eisdir": "is gone"} {
		if err := h.kindOfFault(&upload.Fault{Word: word}); bridge.KindOf(err) != bridge.Unavailable || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// The place of an object is known by its key.
func TestHandedOverToS3(t *testing.T) {
	o := configs.DefaultFileTransfer()
	o.Export.To, o.Export.S3.Bucket, o.Export.S3.Key = configs.ExportS3, "images", "site 7/${clientid}/${fileid}/${name}"
	h := newHanded(nil, nil, o)
	if got, want := h.uri(largeFile("f", "x")), "s3://images/site%207/cam/f/image-f"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	o.Export.To = configs.ExportUpstream
	if got := newHanded(nil, nil, o).uri(largeFile("f", "x")); got != "" {
		t.Errorf("%s: nobody knows where another cluster keeps it", got)
	}
}
