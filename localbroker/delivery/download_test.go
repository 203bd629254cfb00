package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/partfile"
)

// depot answers a client's requests for one stream of two files, until it has given so
// many blocks.
type depot struct {
	t      *testing.T
	client *Client
	files  [2][]byte
	blocks int
	end    func() // called instead of the next answer
	heard  func(*bridge.Message)

	replaced bool // by another stream of the same version: only who begins anew gets it
}

func (d *depot) Up() bool { return true }

func (d *depot) say(m *bridge.Message) {
	if d.heard != nil {
		d.heard(m)
	}
	d.client.Take(m)
}

func (d *depot) Publish(m *bridge.Message) error {
	t, err := parseTopic(m.Topic)
	if err != nil {
		d.t.Fatal(err)
	}
	o := DefaultOptions()
	q, fault := o.read(t.verb, t.format, m.Payload)
	if fault != nil {
		d.t.Fatal(fault)
	}
	if t.verb == verbDescribe {
		s := &Stream{ID: t.stream, Version: 1, Files: []File{{ID: 0, Size: int64(len(d.files[0]))}, {ID: 1, Size: int64(len(d.files[1]))}}}
		d.say(&bridge.Message{Topic: t.with(verbDescription), Payload: marshal(t.format, describe(s, q.token))})
		return nil
	}
	content := d.files[q.file]
	numbers, err := q.blocks(int64(len(content)), false)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.replaced = d.replaced && numbers[0] > 0; d.replaced {
		f := Fault{VersionMismatch, "another one", q.token}
		d.say(&bridge.Message{Topic: t.with(verbRejected), Payload: f.payload(t.format)})
		return nil
	}
	for _, n := range numbers {
		if d.blocks == 0 {
			d.end()
			return errors.New("no more")
		}
		d.blocks--
		at := n * q.block
		b := block{q.token, q.file, min(q.block, len(content)-at), n, content[at:min(at+q.block, len(content))]}
		d.say(&bridge.Message{Topic: t.with(verbData), Payload: b.payload(t.format)})
	}
	return nil
}

// TestDownloadFits: a request asks for no more blocks than an answer has, for the rest of
// which it would wait.
func TestDownloadFits(t *testing.T) {
	for _, size := range []int{256, 40 << 10, 60_000, 128 << 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			end := &depot{t: t, files: [2][]byte{bytes.Repeat([]byte("firmware"), 40_000)}, blocks: 10_000}
			end.client = NewClient("pump-7", CBOR, end)
			d := &Download{Client: end.client, Stream: "fw", Path: filepath.Join(t.TempDir(), "fw.bin"), Block: size, Blocks: 100, Wait: time.Hour}
			r, err := d.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(r.Path); err != nil || !bytes.Equal(got, end.files[0]) {
				t.Errorf("the file is another one, %v", err)
			}
		})
	}
}

// TestDownloadReplaced: a download whose stream was replaced under its version meanwhile
// begins anew.
func TestDownloadReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fw.bin")
	was, is := bytes.Repeat([]byte("was."), 1024), bytes.Repeat([]byte("is.."), 1024)
	for _, c := range []struct {
		content  []byte
		replaced bool
		blocks   int
	}{{was, false, 3}, {is, true, 100}} {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		end := &depot{t: t, files: [2][]byte{c.content}, blocks: c.blocks, end: stop, replaced: c.replaced}
		end.client = NewClient("pump-7", CBOR, end)
		d := &Download{Client: end.client, Stream: "fw", Path: path, Block: 1024, Blocks: 1, Wait: time.Minute}
		if _, err := d.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, is) {
		t.Errorf("%d bytes, of which %d are of the stream before, %v", len(got), 4*bytes.Count(got, []byte("was.")), err)
	}
}

// TestDownloadGoesOn: a download that was interrupted goes on, but never from what is
// not there: what was written since for another file or block size, or what somebody
// has cut off.
func TestDownloadGoesOn(t *testing.T) {
	type run struct{ file, block, blocks int }
	kilobytes := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n<<10) }
	files := [2][]byte{append(kilobytes('a', 6), kilobytes('b', 6)...), append(kilobytes('c', 6), kilobytes('d', 6)...)}
	for _, c := range []struct {
		name    string
		before  []run
		between func(path string) error
		resumed int64
	}{
		{"after a cut", []run{{0, 1024, 5}}, nil, 5 << 10},
		{"after one of the other file that was killed", []run{{0, 1024, 5}, {1, 1024, -1}}, nil, 0},
		{"after one with other blocks that was killed", []run{{0, 1024, 5}, {0, 512, -1}}, nil, 0},
		{"of what was cut short", []run{{0, 1024, 5}}, func(path string) error { return os.Truncate(path+".part", 2000) }, 0},
		{"of what is gone", []run{{0, 1024, 5}}, func(path string) error { return os.Remove(path + ".part") }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fw.bin")
			get := func(r run) (*Result, error) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				end := &depot{t: t, files: files, blocks: r.blocks, end: stop}
				end.client = NewClient("pump-7", CBOR, end)
				d := &Download{Client: end.client, Stream: "fw", File: r.file, Path: path, Block: r.block, Blocks: 1, Wait: time.Minute}
				if r.blocks >= 0 {
					return d.Run(ctx)
				}
				s, err := d.describe(ctx) // as far as it comes before it notes anything
				if err == nil {
					d.file, err = partfile.Open(path, 0o600)
				}
				if err == nil {
					err = d.open(s, s.file(r.file))
				}
				if err == nil {
					_, err = d.file.Write(files[r.file])
				}
				return nil, errors.Join(err, d.file.Close())
			}
			for _, r := range c.before {
				if _, err := get(r); err != nil && !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			if c.between != nil {
				if err := c.between(path); err != nil {
					t.Fatal(err)
				}
			}
			r, err := get(run{0, 1024, 100})
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(files[0])
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, files[0]) || r.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("the file is another one, %v, %+v", err, r)
			}
			if r.Resumed != c.resumed {
				t.Errorf("resumed from %d bytes, want %d", r.Resumed, c.resumed)
			}
		})
	}
}
