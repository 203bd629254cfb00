package s3

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"

	"github.com/ebbgate/ebbgate/bridge"
)

// page is what stands between a target and its store, and answers one operation, or
// all, with a web page.
type page struct {
	http.RoundTripper
	operation string // empty: all
	etag      string
	checksum  string
	status    int
}

func (p *page) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.operation != "" && middleware.GetOperationName(r.Context()) != p.operation {
		return p.RoundTripper.RoundTrip(r)
	}
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	const text = "<html><body>Please log in</body></html>"
	answer := &http.Response{
		StatusCode: p.status, ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: int64(len(text)),
		Header: http.Header{"Content-Type": {"text/html"}}, Body: io.NopCloser(strings.NewReader(text)),
	}
	if p.etag != "" {
		answer.Header.Set("ETag", p.etag)
	}
	if p.checksum != "" {
		answer.Header.Set("X-Amz-Checksum-Sha256", p.checksum)
	}
	return answer, nil
}

// TestPage: a web server that answers 200 to everything has taken no file, whichever
// request comes to it: the file is kept, the fault is the target's, and the file goes
// once the store is there (F52).
func TestPage(t *testing.T) {
	t.Parallel()
	other := *hash([32]byte{1})
	for name, c := range map[string]struct {
		page
		size int
		want string
	}{
		"all, one part":             {page{}, 1000, "without an ETag"},
		"all, parts":                {page{}, 6 * mib, "without an id of the upload"},
		"one part":                  {page{operation: "PutObject"}, 1000, "without an ETag"},
		"one part, with an ETag":    {page{operation: "PutObject", etag: `W/"page"`}, 1000, "the object is not there"},
		"all, with an ETag":         {page{etag: `W/"page"`}, 1000, "the object is not there"},
		"another checksum":          {page{operation: "PutObject", etag: `"x"`, checksum: other}, 1000, "checksum of something else"},
		"beginning":                 {page{operation: "CreateMultipartUpload"}, 6 * mib, "without an id of the upload"},
		"a part":                    {page{operation: "UploadPart"}, 6 * mib, "without an ETag"},
		"a part, another checksum":  {page{operation: "UploadPart", etag: `"x"`, checksum: other}, 6 * mib, "checksum of something else"},
		"the end, nothing was made": {page{operation: "CompleteMultipartUpload"}, 6 * mib, "without an ETag"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openRig(t)
			c.RoundTripper, c.status = r.web.Transport, http.StatusOK
			r.web.Transport = &c.page
			f := file("c1", "f1", "a.bin", c.size)
			if _, err := r.Put(t.Context(), f); !bridge.OfTarget(err) || bridge.OfFile(err) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), r.o.Endpoint) {
				t.Errorf("%v: %v", bridge.KindOf(err), err)
			}
			if c.operation == "" || c.operation == "CreateMultipartUpload" {
				if err := r.Check(t.Context()); bridge.KindOf(err) != bridge.Unavailable {
					t.Errorf("the check: %v", err)
				}
			}
			if c.operation == "" && c.etag == "" {
				if _, err := r.Open(t.Context(), "s3://"+bucket+"/c1/f1/a.bin"); bridge.KindOf(err) != bridge.Unavailable {
					t.Errorf("opened: %v", err)
				}
			}
			r.open()
			if k := r.keys(); len(k) > 0 {
				t.Errorf("objects %q", k)
			}
			r.put(f)
			r.wantObject("c1/f1/a.bin", f)
			r.wantClean()
		})
	}
}

// mute is a store that says no checksums, and shows objects or does not.
type mute struct {
	http.RoundTripper
	hides bool
}

func (m *mute) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.hides && middleware.GetOperationName(r.Context()) == "HeadObject" {
		return (&page{status: http.StatusForbidden}).RoundTrip(r)
	}
	answer, err := m.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Header.Del("X-Amz-Checksum-Sha256")
	}
	return answer, err
}

// TestMute: of a store that does not say what it has computed the object is looked at;
// one that lets nobody look is believed.
func TestMute(t *testing.T) {
	t.Parallel()
	for _, hides := range []bool{false, true} {
		r := openRig(t, func(o *Options) { o.Manifest = manifestAlways })
		r.web.Transport = &mute{r.web.Transport, hides}
		f := file("c1", "f1", "a.bin", 1000)
		r.put(f)
		want := []string{"PutObject", "HeadObject", "PutObject", "HeadObject"}
		if hides { // which no store has answered
			want = []string{"PutObject", "PutObject"}
		}
		if got := r.operations(); !slices.Equal(got, want) {
			t.Errorf("hides %v: requests %q, want %q", hides, got, want)
		}
		r.open()
		r.wantObject("c1/f1/a.bin", f)
	}
}
