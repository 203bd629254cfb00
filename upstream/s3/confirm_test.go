package s3

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"regexp"
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
	text      string // empty: a login page
	status    int
}

// made is what a store says when it has made an object of parts.
func made(checksum string) string {
	return "<CompleteMultipartUploadResult><ETag>&#34;x-2&#34;</ETag><ChecksumSHA256>" + checksum + "</ChecksumSHA256></CompleteMultipartUploadResult>"
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
	text := p.text
	if text == "" {
		text = "<html><body>Please log in</body></html>"
	}
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
		"all, parts":                {page{}, 6 * mib, "without an ETag"},
		"one part":                  {page{operation: "PutObject"}, 1000, "without an ETag"},
		"one part, with an ETag":    {page{operation: "PutObject", etag: `W/"page"`}, 1000, "the object is not there"},
		"all, with an ETag":         {page{etag: `W/"page"`}, 1000, "without an id of the request"},
		"another checksum":          {page{operation: "PutObject", etag: `"x"`, checksum: other}, 1000, "checksum of something else"},
		"beginning":                 {page{operation: "CreateMultipartUpload"}, 6 * mib, "without an id of the upload"},
		"a part":                    {page{operation: "UploadPart"}, 6 * mib, "without an ETag"},
		"a part, another checksum":  {page{operation: "UploadPart", etag: `"x"`, checksum: other}, 6 * mib, "checksum of something else"},
		"the end, nothing was made": {page{operation: "CompleteMultipartUpload"}, 6 * mib, "without an ETag"},
		"the end, with an ETag":     {page{operation: "CompleteMultipartUpload", text: made("")}, 6 * mib, "the object is not there"},
		"the end, another checksum": {page{operation: "CompleteMultipartUpload", text: made(other + "-2")}, 6 * mib, "checksum of something else"},
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
	hides int // status to a look; 0: shows
}

func (m *mute) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.hides != 0 && middleware.GetOperationName(r.Context()) == "HeadObject" {
		return (&page{status: m.hides}).RoundTrip(r)
	}
	answer, err := m.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Header.Del("X-Amz-Checksum-Sha256")
	}
	if err == nil && middleware.GetOperationName(r.Context()) == "CompleteMultipartUpload" {
		err = reword(answer, "")
	}
	return answer, err
}

// said is the checksum in the answer to CompleteMultipartUpload.
var said = regexp.MustCompile(`<ChecksumSHA256>([^<]*)</ChecksumSHA256>`)

// reword puts something else into that place.
func reword(answer *http.Response, element string) error {
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	text = said.ReplaceAll(text, []byte(element))
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return err
}

// TestMute: of a store that does not say what it has computed the object is looked at;
// one that lets nobody look is believed.
func TestMute(t *testing.T) {
	t.Parallel()
	for _, hides := range []int{0, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		r := openRig(t, func(o *Options) { o.Manifest = manifestAlways })
		r.web.Transport = &mute{r.web.Transport, hides}
		f, g := file("c1", "f1", "a.bin", 1000), file("c1", "f2", "a.bin", 6*mib)
		r.put(f)
		want := []string{"HeadObject", "PutObject", "HeadObject", "PutObject", "HeadObject"}
		if hides != 0 { // which no store has answered
			want = []string{"PutObject", "PutObject"}
		}
		if got := r.operations(); !slices.Equal(got, want) {
			t.Errorf("hides %d: requests %q, want %q", hides, got, want)
		}
		r.put(g)
		if got := r.operations(); slices.Contains(got, "HeadObject") != (hides == 0) || !slices.Contains(got, "CompleteMultipartUpload") {
			t.Errorf("hides %d: requests %q", hides, got)
		}
		r.open()
		r.wantObject("c1/f1/a.bin", f)
		r.wantObject("c1/f2/a.bin", g)
		r.wantClean()
	}
}

// rewording is a store that says another checksum of what it has made.
type rewording struct {
	http.RoundTripper
	element string
}

func (w *rewording) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := w.RoundTripper.RoundTrip(r)
	if err == nil && middleware.GetOperationName(r.Context()) == "CompleteMultipartUpload" {
		err = reword(answer, w.element)
	}
	return answer, err
}

// TestWhole: the checksum of an object of parts counts in each form that stores say it
// in, without a look at the object. One of something else does not, and the next attempt
// does not take what is there for the file.
func TestWhole(t *testing.T) {
	t.Parallel()
	f := file("c1", "f1", "a.bin", 6*mib)
	content := make([]byte, f.Size)
	if _, err := f.Content.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	first, second := sha256.Sum256(content[:5*mib]), sha256.Sum256(content[5*mib:])
	composite := *hash(sha256.Sum256(append(first[:], second[:]...)))
	for name, c := range map[string]struct {
		checksum string
		taken    bool
	}{
		"composite":               {composite + "-2", true},
		"composite, not numbered": {composite, true},
		"of the whole":            {*hash(f.SHA256), true},
		"of fewer parts":          {composite + "-1", false},
		"of something else":       {*hash(first) + "-2", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openRig(t)
			r.web.Transport = &rewording{r.web.Transport, "<ChecksumSHA256>" + c.checksum + "</ChecksumSHA256>"}
			whole := []string{"HeadObject", "CreateMultipartUpload", "UploadPart", "UploadPart", "HeadObject", "CompleteMultipartUpload"}
			if c.taken {
				r.put(f)
				r.wantOperations(whole...)
			} else {
				if _, err := r.Put(t.Context(), f); !bridge.OfTarget(err) || bridge.OfFile(err) || !strings.Contains(err.Error(), "checksum of something else") {
					t.Errorf("%v: %v", bridge.KindOf(err), err)
				}
				r.open()
				r.operations()
				r.put(f)
				if got := r.operations(); !slices.Equal(got[max(0, len(got)-len(whole)):], whole) {
					t.Errorf("requests of the next attempt %q", got)
				}
			}
			r.wantObject("c1/f1/a.bin", f)
			r.wantClean()
		})
	}
}

// TestLookFails: while the look at an object of parts is not answered the file is not
// done; once it is, nothing is sent again.
func TestLookFails(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	web := r.web.Transport
	r.web.Transport = &mute{web, http.StatusInternalServerError}
	g := file("c1", "f2", "a.bin", 1000)
	if _, err := r.Put(t.Context(), g); err == nil || bridge.OfFile(err) || !strings.Contains(err.Error(), "status 500") || len(r.keys()) > 0 {
		t.Errorf("%v: %v, %q", bridge.KindOf(err), err, r.keys())
	}
	r.web.Transport = &mute{web, http.StatusBadRequest}
	f := file("c1", "f1", "a.bin", 6*mib)
	if _, err := r.Put(t.Context(), f); err == nil || bridge.OfFile(err) || !strings.Contains(err.Error(), "status 400") {
		t.Errorf("%v: %v", bridge.KindOf(err), err)
	}
	r.open()
	r.operations()
	r.put(f)
	r.wantOperations("ListParts", "HeadObject")
	r.wantObject("c1/f1/a.bin", f)
	r.wantClean()
}
