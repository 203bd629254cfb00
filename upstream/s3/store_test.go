package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestMain(m *testing.M) {
	// They wait for the store more than they compute. Who says -parallel is heard:
	// flags are read after this.
	if err := flag.Set("test.parallel", "6"); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Nothing on this machine may be taken for credentials.
	for key, value := range map[string]string{"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		_ = os.Setenv(key, value) // fails on bad names only
	}
	goleak.VerifyTestMain(m)
}

// shelf is a Shelf that outlives the target, and fails when it is told to.
type shelf struct {
	mu   sync.Mutex
	kept map[string][]byte // namespace + "\x00" + key
	fail func(b *bridge.Batch) error
}

func newShelf() *shelf { return &shelf{kept: map[string][]byte{}} }

// Commit implements Shelf.
func (s *shelf) Commit(b *bridge.Batch, done func(bridge.Seq, error)) {
	s.mu.Lock()
	var err error
	if s.fail != nil {
		err = s.fail(b)
	}
	if err == nil {
		for _, p := range b.Puts {
			if p.Value == nil {
				delete(s.kept, p.Namespace+"\x00"+p.Key)
			} else {
				s.kept[p.Namespace+"\x00"+p.Key] = p.Value
			}
		}
	}
	s.mu.Unlock()
	go done(0, err)
}

// Get implements Shelf.
func (s *shelf) Get(namespace, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[namespace+"\x00"+key], nil
}

// Scan implements Shelf.
func (s *shelf) Scan(namespace, prefix string, fn func(key string, value []byte) bool) error {
	s.mu.Lock()
	all := maps.Clone(s.kept)
	s.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if key, ok := strings.CutPrefix(k, namespace+"\x00"); ok && strings.HasPrefix(key, prefix) && !fn(key, all[k]) {
			break
		}
	}
	return nil
}

// Forget implements Shelf.
func (s *shelf) Forget(namespace string, keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		delete(s.kept, namespace+"\x00"+k)
	}
}

// failing makes the shelf refuse batches; nil takes them all.
func (s *shelf) failing(fail func(b *bridge.Batch) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *shelf) wantEmpty(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.kept {
		t.Errorf("the shelf still has %q", k)
	}
}

// rig is a target at a real store.
type rig struct {
	*Target
	t     *testing.T
	store *peers.Store
	shelf *shelf
	o     Options

	mu    sync.Mutex
	asked []string // operations, as they were sent
	bytes int
}

const bucket = "files"

func openRig(t *testing.T, changes ...func(*Options)) *rig {
	t.Helper()
	store := peers.NewStore(t, bucket)
	o := DefaultOptions()
	o.Endpoint, o.PathStyle, o.Bucket, o.AccessKeyID, o.SecretAccessKey = store.URL(), true, bucket, peers.StoreKey, peers.StoreSecret
	for _, change := range changes {
		change(&o)
	}
	r := &rig{t: t, store: store, shelf: newShelf(), o: o}
	r.open()
	return r
}

// open makes the target anew, as a process that was started again does.
func (r *rig) open() {
	r.t.Helper()
	if ps := r.o.Validate(); len(ps) > 0 {
		r.t.Fatal(ps)
	}
	target, err := Open(r.o, r.shelf, slog.New(slog.DiscardHandler), Hooks{Carried: func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bytes += n
	}, Request: func(operation string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked = append(r.asked, operation)
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = target.Close() })
	r.Target = target
}

// operations are those since the last call.
func (r *rig) operations() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.asked
	r.asked = nil
	return out
}

// sent is how many bytes the sockets have carried since the last call.
func (r *rig) sent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.bytes
	r.bytes = 0
	return n
}

func (r *rig) wantOperations(want ...string) {
	r.t.Helper()
	if got := r.operations(); !slices.Equal(got, want) {
		r.t.Errorf("requests %q, want %q", got, want)
	}
}

// put puts a file that must be taken.
func (r *rig) put(f *bridge.File) string {
	r.t.Helper()
	place, err := r.Put(r.t.Context(), f)
	if err != nil {
		r.t.Fatalf("put %s: %v", f.Name, err)
	}
	return place
}

// wantObject compares an object with the file that it was made of, and that
// nothing else is at the store.
func (r *rig) wantObject(key string, f *bridge.File) *s3.GetObjectOutput {
	r.t.Helper()
	out, err := r.client.GetObject(r.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		r.t.Fatalf("%s: %v", key, err)
	}
	defer out.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, out.Body); err != nil {
		r.t.Fatal(err)
	}
	if [32]byte(h.Sum(nil)) != f.SHA256 {
		r.t.Errorf("%s has another content", key)
	}
	if out.Metadata[metaSum] != sumText(f) {
		r.t.Errorf("metadata of %s: %v", key, out.Metadata)
	}
	return out
}

func sumText(f *bridge.File) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range f.SHA256 {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// keys lists the objects of the bucket, and uploads the unfinished uploads.
func (r *rig) keys() (out []string) {
	r.t.Helper()
	list, err := r.client.ListObjectsV2(r.t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, o := range list.Contents {
		out = append(out, aws.ToString(o.Key))
	}
	return out
}

func (r *rig) uploads() (out []string) {
	r.t.Helper()
	list, err := r.client.ListMultipartUploads(r.t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(bucket)})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, u := range list.Uploads {
		out = append(out, aws.ToString(u.Key))
	}
	return out
}

// wantClean is that no upload is unfinished, here or at the store.
func (r *rig) wantClean() {
	r.t.Helper()
	if u := r.uploads(); len(u) > 0 {
		r.t.Errorf("unfinished uploads %q", u)
	}
	r.shelf.wantEmpty(r.t)
}

// file makes one of some size, whose bytes differ from place to place.
func file(clientID, fileID, name string, size int) *bridge.File {
	content := make([]byte, 0, size+8)
	for i := uint64(len(fileID)); len(content) < size; i++ {
		content = binary.LittleEndian.AppendUint64(content, i*0x9e3779b97f4a7c15)
	}
	content = content[:size]
	return &bridge.File{
		ClientID: clientID, FileID: fileID, Name: name, Size: int64(size), SHA256: sha256.Sum256(content),
		Meta: []byte(`{"name":"` + name + `"}`), Content: bytes.NewReader(content),
	}
}

// cut is a content at which ctx ends when what is behind an offset is read for the
// n-th time: first for its hash, then to be sent.
type cut struct {
	io.ReaderAt
	at     int64
	reads  int
	cancel context.CancelFunc
}

// ReadAt implements io.ReaderAt.
func (c *cut) ReadAt(b []byte, at int64) (int, error) {
	if at == c.at {
		if c.reads--; c.reads == 0 {
			c.cancel()
			return 0, context.Canceled
		}
	}
	return c.ReaderAt.ReadAt(b, at)
}

// putUntil puts a file and is cut off when the part at an offset is to be sent.
func (r *rig) putUntil(f *bridge.File, at int64) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	g := *f
	g.Content = &cut{f.Content, at, 2, cancel}
	if _, err := r.Put(ctx, &g); err == nil {
		r.t.Fatal("it was not cut off")
	}
}
