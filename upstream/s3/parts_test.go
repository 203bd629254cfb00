package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/ebbgate/ebbgate/bridge"
)

const mib = 1 << 20

// A file of several parts is one object, with what it is; nothing is left of the
// way there, and putting it again does no harm.
func TestParts(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	f := file("c1", "f1", "a.bin", 11*mib+5)
	if place := r.put(f); place != "s3://files/c1/f1/a.bin" {
		t.Errorf("place %q", place)
	}
	r.wantOperations("HeadObject", "CreateMultipartUpload", "UploadPart", "UploadPart", "UploadPart", "HeadObject", "CompleteMultipartUpload")
	if n := r.sent(); n < 11*mib || n > 12*mib {
		t.Errorf("%d bytes at the sockets", n)
	}
	out := r.wantObject("c1/f1/a.bin", f)
	if aws.ToString(out.ContentType) != "application/octet-stream" || out.Metadata[metaClient] != "c1" {
		t.Errorf("%+v", out)
	}
	r.wantClean()
	r.operations()
	r.put(f)
	r.wantOperations("HeadObject")
	r.wantObject("c1/f1/a.bin", f)
	r.wantClean()
}

// After a cut, and in another process, only the parts are sent that the store does
// not have.
func TestResume(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	f := file("c1", "f1", "a.bin", 16*mib)
	r.putUntil(f, 10*mib)
	if k := r.keys(); len(k) > 0 {
		t.Errorf("objects %q", k)
	}
	r.open()
	r.operations()
	r.put(f)
	r.wantOperations("ListParts", "UploadPart", "UploadPart", "HeadObject", "CompleteMultipartUpload")
	r.wantObject("c1/f1/a.bin", f)
	r.wantClean()
}

// The store is away for a time: whoever asks is told that it is the target's
// fault, and the upload goes on when it is back.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	f := file("c1", "f1", "a.bin", 11*mib)
	r.putUntil(f, 5*mib)
	r.store.Stop()
	for range 3 {
		_, err := r.Put(t.Context(), f)
		if !bridge.OfTarget(err) || bridge.OfFile(err) {
			t.Fatalf("%v", err)
		}
	}
	r.store.Start()
	r.operations()
	r.put(f)
	r.wantOperations("ListParts", "UploadPart", "UploadPart", "HeadObject", "CompleteMultipartUpload")
	r.wantObject("c1/f1/a.bin", f)
	r.wantClean()
}

// An upload that somebody has aborted is begun anew, between attempts and in the
// midst of one.
func TestUploadGone(t *testing.T) {
	t.Parallel()
	abort := func(r *rig) {
		list, err := r.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(bucket)})
		if err != nil || len(list.Uploads) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		if _, err := r.client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String(bucket), Key: list.Uploads[0].Key, UploadId: list.Uploads[0].UploadId}); err != nil {
			t.Fatal(err)
		}
		r.operations()
	}
	r := openRig(t)
	f := file("c1", "f1", "a.bin", 11*mib)
	r.putUntil(f, 10*mib)
	abort(r)
	r.put(f)
	r.wantOperations("ListParts", "HeadObject", "CreateMultipartUpload", "UploadPart", "UploadPart", "UploadPart", "HeadObject", "CompleteMultipartUpload")
	r.wantObject("c1/f1/a.bin", f)
	r.wantClean()

	f = file("c1", "f2", "a.bin", 11*mib)
	g := *f
	g.Content = &cut{f.Content, 5 * mib, 2, func() { abort(r) }}
	if _, err := r.Put(t.Context(), &g); err == nil {
		t.Fatal("the cut did not cut")
	}
	r.put(f)
	r.wantObject("c1/f2/a.bin", f)
	r.wantClean()
}

// losing does what it is asked, and loses the first answer to an operation.
type losing struct {
	http.RoundTripper
	operation string
	once      sync.Once
}

func (l *losing) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	answer, err = l.RoundTripper.RoundTrip(r)
	if err == nil && middleware.GetOperationName(r.Context()) == l.operation {
		l.once.Do(func() {
			err = errors.Join(answer.Body.Close(), io.ErrUnexpectedEOF)
			answer = nil
		})
	}
	return answer, err
}

// Whatever answer of the store is lost, there is one object in the end, and no upload
// that nobody knows.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			r := openRig(t)
			r.web.Transport = &losing{RoundTripper: r.web.Transport, operation: operation}
			f := file("c1", "f1", "a.bin", 11*mib)
			if operation == "PutObject" {
				f = file("c1", "f1", "a.bin", 5*mib)
			}
			if _, err := r.Put(t.Context(), f); err != nil {
				if !bridge.OfTarget(err) {
					t.Errorf("the first attempt: %v", err)
				}
				r.put(f)
			}
			r.wantObject("c1/f1/a.bin", f)
			r.wantClean()
		})
	}
}

// crash makes the shelf refuse the n-th batch, and all that come after it, as the
// end of the process does: until the next open.
func (r *rig) crash(n int) {
	r.shelf.failing(func(*bridge.Batch) error {
		if n--; n <= 0 {
			return errors.New("the process is gone")
		}
		return nil
	})
}

// Wherever a crash comes between what the store has done and what the shelf knows
// of it, there is one object in the end, and nothing is sent twice.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   int // batch: 1 asked, 2 id, 3 and 4 parts, 5 whole, 6 forgotten
		want []string
	}{
		"before anything":      {1, []string{"HeadObject", "CreateMultipartUpload", "UploadPart", "UploadPart", "HeadObject", "CompleteMultipartUpload"}},
		"with an id unnoted":   {2, []string{"ListMultipartUploads", "AbortMultipartUpload", "HeadObject", "CreateMultipartUpload", "UploadPart", "UploadPart", "HeadObject", "CompleteMultipartUpload"}},
		"with a part unnoted":  {4, []string{"ListParts", "HeadObject", "CompleteMultipartUpload"}},
		"before it is made":    {5, []string{"ListParts", "HeadObject", "CompleteMultipartUpload"}},
		"after it was made":    {6, []string{"ListParts", "HeadObject"}},
		"with a part, and all": {3, []string{"ListParts", "UploadPart", "HeadObject", "CompleteMultipartUpload"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openRig(t)
			f := file("c1", "f1", "a.bin", 7*mib)
			r.crash(c.at)
			if _, err := r.Put(t.Context(), f); err == nil {
				t.Fatal("there was no crash")
			}
			r.shelf.failing(nil)
			r.open()
			r.operations()
			r.put(f)
			r.wantOperations(c.want...)
			r.wantObject("c1/f1/a.bin", f)
			r.wantClean()
		})
	}
}

// What is given up is aborted, and nobody else's upload is, though its key begins
// with ours (F53).
func TestAbandon(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	others, err := r.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("c1/f1/a.bin0")})
	if err != nil {
		t.Fatal(err)
	}
	r.putUntil(file("c1", "f1", "a.bin", 11*mib), 5*mib)
	r.putUntil(file("c1", "f2", "a.bin", 11*mib), 5*mib)
	r.crash(2)
	if _, err := r.Put(t.Context(), file("c1", "f3", "a.bin", 11*mib)); err == nil {
		t.Fatal("there was no crash")
	}
	r.shelf.failing(nil)
	r.open()
	if u := r.uploads(); len(u) != 4 {
		t.Fatalf("uploads %q", u)
	}
	if err := r.Abandon(t.Context(), func(string, string) bool { return true }); err != nil || len(r.uploads()) != 4 {
		t.Errorf("%v, %q", err, r.uploads())
	}
	r.store.Stop()
	if err := r.Abandon(t.Context(), func(string, string) bool { return false }); !bridge.OfTarget(err) {
		t.Errorf("%v", err)
	}
	r.store.Start()
	if err := r.Abandon(t.Context(), func(_, fileID string) bool { return fileID == "f2" }); err != nil {
		t.Fatal(err)
	}
	if u := r.uploads(); !slices.Equal(u, []string{"c1/f1/a.bin0", "c1/f2/a.bin"}) {
		t.Errorf("uploads %q", u)
	}
	if err := r.Abandon(t.Context(), func(string, string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if u := r.uploads(); !slices.Equal(u, []string{"c1/f1/a.bin0"}) {
		t.Errorf("uploads %q", u)
	}
	r.shelf.wantEmpty(t)
	if _, err := r.client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String(bucket), Key: others.Key, UploadId: others.UploadId}); err != nil {
		t.Errorf("somebody else's upload: %v", err)
	}
}

// A file that is not what was verified is refused for good, before there is an
// object, and no parts of it are left.
func TestDamaged(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	for _, size := range []int{1000, 11 * mib} {
		f := file("c1", "f1", "a.bin", size)
		content := make([]byte, size)
		if _, err := f.Content.ReadAt(content, 0); err != nil {
			t.Fatal(err)
		}
		content[size/3] ^= 1
		f.Content = bytes.NewReader(content)
		_, err := r.Put(t.Context(), f)
		if !bridge.OfFile(err) || !strings.Contains(err.Error(), "a.bin") {
			t.Errorf("%v", err)
		}
		if k := r.keys(); len(k) > 0 {
			t.Errorf("objects %q", k)
		}
		r.wantClean()
	}
}

// Another content under the same ids does not go on with the parts of the first.
func TestOtherContent(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	r.putUntil(file("c1", "f1", "a.bin", 11*mib), 5*mib)
	f := file("c1", "f1", "a.bin", 12*mib)
	r.put(f)
	r.wantObject("c1/f1/a.bin", f)
	r.wantClean()
}

// A file is never in memory, nor is a part of it.
func TestMemory(t *testing.T) {
	r := openRig(t)
	f := file("c1", "f1", "a.bin", 24*mib)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.put(f)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8*mib {
		t.Errorf("%d bytes were allocated for a file of %d", n, f.Size)
	}
	r.wantObject("c1/f1/a.bin", f)
}

// Parts are as many as S3 takes, however large the file.
func TestPartSize(t *testing.T) {
	o := DefaultOptions()
	target := &Target{o: o}
	for _, size := range []int64{leastPart + 1, 50_000 * mib, 50_000*mib + 1, largestFile} {
		u := upload{Size: size, PartSize: target.partSize(size)}
		offset, length := u.span(u.parts())
		if u.parts() > mostParts || u.PartSize < leastPart || offset+length != size || length <= 0 {
			t.Errorf("%d: %d parts of %d, the last at %d has %d", size, u.parts(), u.PartSize, offset, length)
		}
	}
}
