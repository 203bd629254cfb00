package s3

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/ebbgate/ebbgate/bridge"
)

// asAmazon has the target trust the store to keep the condition, as it does Amazon's.
func (r *rig) asAmazon() *rig {
	r.Target.o.Endpoint = ""
	return r
}

// other is another gateway with the same bucket, and with the key of this one or its own.
func (r *rig) other(key string) *rig {
	r.t.Helper()
	c := &rig{t: r.t, store: r.store, shelf: newShelf(), o: r.o}
	c.o.Key = key
	c.open()
	return c
}

// unknowing is a store that does not know some condition, or ends a look.
type unknowing struct {
	http.RoundTripper
	code  string // to a request with If-None-Match; empty: it is known
	hides bool

	refused int // such requests
}

func (u *unknowing) RoundTrip(r *http.Request) (*http.Response, error) {
	refused := &page{status: http.StatusNotImplemented, text: "<Error><Code>" + u.code + "</Code></Error>"}
	switch {
	case u.hides && r.Method == http.MethodHead:
		refused.status = http.StatusForbidden
	case u.code == "" || r.Header.Get("If-None-Match") == "":
		return u.RoundTripper.RoundTrip(r)
	case u.code == "NotImplemented":
		refused.status = http.StatusBadRequest // some say it so
	}
	u.refused++
	return refused.RoundTrip(r)
}

// Two gateways whose devices have equal ids and that have the same key call two files
// alike: the first one stays, the second is refused for what it is, and goes once the
// first has been taken away. With a key of its own for each both are there.
func TestKeysOfTwoGateways(t *testing.T) {
	t.Parallel()
	const common, dev = "${clientid}/${fileid}/${name}", "dev-${clientid}/${fileid}/${name}"
	for name, c := range map[string]struct {
		keys   [2]string
		open   func(r *rig)
		remedy string // empty: both go
		asked  []string
	}{
		"one key, at Amazon":         {[2]string{common, common}, func(r *rig) { r.asAmazon() }, "begin file_transfer.export.s3.key with a level", []string{"PutObject", "HeadObject"}},
		"one key, at another store":  {[2]string{common, common}, func(*rig) {}, "begin file_transfer.export.s3.key with a level", []string{"HeadObject"}},
		"one key, no level":          {[2]string{dev, dev}, func(*rig) {}, "begin file_transfer.export.s3.key with a level", []string{"HeadObject"}},
		"one key with a level":       {[2]string{"site-7/" + common, "site-7/" + common}, func(*rig) {}, "nothing is replaced; move that object away, then ebbgate files retry", []string{"HeadObject"}},
		"501":                        {[2]string{common, common}, func(r *rig) { r.asAmazon().web.Transport = &unknowing{r.web.Transport, "What", false, 0} }, "begin file_transfer", []string{"HeadObject"}},
		"NotImplemented":             {[2]string{common, common}, func(r *rig) { r.asAmazon().web.Transport = &unknowing{r.web.Transport, "NotImplemented", false, 0} }, "begin file_transfer", []string{"HeadObject"}},
		"nobody may look, at Amazon": {[2]string{common, common}, func(r *rig) { r.asAmazon().web.Transport = &unknowing{r.web.Transport, "", true, 0} }, "allow this identity s3:GetObject", []string{"PutObject"}},
		"nobody may look, elsewhere": {[2]string{common, common}, func(r *rig) { r.web.Transport = &unknowing{r.web.Transport, "", true, 0} }, "allow this identity s3:GetObject", []string{"PutObject"}},
		"two keys":                   {[2]string{"site-7/" + common, "site-8/" + common}, func(*rig) {}, "", nil},
	} {
		for sizes, size := range map[string]int{"one part": 200, "parts": 6 * mib} {
			t.Run(name+", "+sizes, func(t *testing.T) {
				t.Parallel()
				mine, theirs := file("c1", "f1", "a.bin", size), file("c1", "f1", "a.bin", size+1)
				r := openRig(t, func(o *Options) { o.Key = c.keys[0] })
				other := r.other(c.keys[1])
				c.open(other)
				key, err := r.keyAt(r.put(mine))
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					other.operations()
					_, err := other.Put(t.Context(), theirs)
					if (err == nil) != (c.remedy == "") || err != nil && (!bridge.OfFile(err) || !strings.Contains(err.Error(), c.remedy) || !strings.Contains(err.Error(), key)) {
						t.Errorf("%v: %v", bridge.KindOf(err), err)
					}
				}
				got := other.operations()
				if size == 200 && c.asked != nil && !slices.Equal(got, c.asked) {
					t.Errorf("requests %q, want %q", got, c.asked)
				}
				if c.remedy != "" && !strings.Contains(name, "nobody may look") && slices.Contains(got, "UploadPart") {
					t.Errorf("it was sent in vain: %q", got)
				}
				r.wantObject(key, mine)
				other.wantClean()
				if c.remedy == "" {
					return
				}
				if _, err := r.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key}); err != nil {
					t.Fatal(err)
				}
				other.put(theirs)
				r.wantObject(key, theirs)
				other.wantClean()
			})
		}
	}
}

// Two gateways put two files of one key at the same time: one of them is there, whole,
// and the other is refused, also when the look came before the object.
func TestKeysAtOnce(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"one part": 200, "parts": 6 * mib} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openRig(t)
			other := r.other(r.o.Key)
			mine, theirs := file("c1", "f1", "a.bin", size), file("c1", "f1", "a.bin", size+1)
			late := *theirs
			// Read to be sent: whatever was looked at by then, nothing was there.
			late.Content = &between{theirs.Content.(reader), 0, func() { r.put(mine) }}
			late.Unsent = theirs.Content
			if _, err := other.asAmazon().Put(t.Context(), &late); !bridge.OfFile(err) {
				t.Errorf("%v: %v", bridge.KindOf(err), err)
			}
			r.wantObject("c1/f1/a.bin", mine)
			other.wantClean()
		})
	}
}

// An equal content under the key is the file's own only when it is of the same device
// and id, which another key may put elsewhere.
func TestSameContentOfAnother(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	other := r.other("${fileid}/${clientid}/${name}")
	f := file("a", "b", "a.bin", 100)
	r.put(f)
	g := *f
	g.ClientID, g.FileID = "b", "a"
	if _, err := other.Put(t.Context(), &g); !bridge.OfFile(err) {
		t.Errorf("%v", err)
	}
	odd := file(" ü ", "\n ", "a.bin", 100) // of which headers lose something
	r.put(odd)
	r.operations()
	r.put(odd)
	r.wantOperations("HeadObject")
}

// A file that is there already counts as put, whoever put it, and is not sent again where
// that can be told before.
func TestThereAlready(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size  int
		open  func(r *rig)
		asked []string
	}{
		"elsewhere":         {100, func(*rig) {}, []string{"HeadObject"}},
		"elsewhere, parts":  {6 * mib, func(*rig) {}, []string{"HeadObject"}},
		"Amazon":            {100, func(r *rig) { r.asAmazon() }, []string{"PutObject", "HeadObject"}},
		"Amazon, parts":     {6 * mib, func(r *rig) { r.asAmazon() }, []string{"HeadObject"}},
		"no condition":      {100, func(r *rig) { r.asAmazon().web.Transport = &unknowing{r.web.Transport, "What", false, 0} }, []string{"HeadObject"}},
		"no condition, two": {6 * mib, func(r *rig) { r.asAmazon().web.Transport = &unknowing{r.web.Transport, "What", false, 0} }, []string{"HeadObject"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openRig(t)
			f := file("c1", "f1", "a.bin", c.size)
			r.put(f)
			r.open()
			c.open(r)
			r.operations()
			r.put(f)
			r.wantOperations(c.asked...)
			r.wantObject("c1/f1/a.bin", f)
			r.wantClean()
			f = file("c1", "f2", "a.bin", c.size) // and others go, more than one
			r.put(f)
			r.wantObject("c1/f2/a.bin", f)
			refuses, _ := r.web.Transport.(*unknowing)
			if refuses != nil {
				refuses.refused = 0
			}
			f = file("c1", "f3", "a.bin", c.size)
			r.put(f)
			if refuses != nil && refuses.refused > 0 {
				t.Error("a store that does not know the condition is asked with it again")
			}
			r.wantObject("c1/f3/a.bin", f)
			r.wantClean()
		})
	}
}

// manifestOf reads what stands beside an object.
func (r *rig) manifestOf(place string) string {
	r.t.Helper()
	in, err := r.Open(r.t.Context(), place+bridge.ManifestSuffix)
	if err != nil {
		r.t.Fatal(err)
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// A manifest is that of the object beside it: a file that is refused leaves another's
// alone, as does one of equal content, and one of no object is replaced.
func TestManifestOfAnother(t *testing.T) {
	t.Parallel()
	r := openRig(t, func(o *Options) { o.Manifest = manifestAlways })
	f := file("c1", "f1", "a.bin", 100)
	place := r.put(f)
	other := r.other(r.o.Key)
	g := file("c1", "f1", "a.bin", 101)
	g.Meta = []byte(`{"name":"a.bin","user_data":1}`)
	if _, err := other.Put(t.Context(), g); !bridge.OfFile(err) {
		t.Errorf("%v", err)
	}
	h := *f
	h.Meta = g.Meta
	for range 2 {
		other.put(&h)
		if got := r.manifestOf(place); got != string(f.Manifest()) {
			t.Errorf("manifest %s", got)
		}
		other.asAmazon()
	}
	if _, err := r.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String("c1/f1/a.bin")}); err != nil {
		t.Fatal(err)
	}
	other.put(g)
	if got := r.manifestOf(place); got != string(g.Manifest()) {
		t.Errorf("manifest %s", got)
	}
	r.wantObject("c1/f1/a.bin", g)
}

// respelling is a store that says the checksum of something else once it has kept what
// came.
type respelling struct{ http.RoundTripper }

func (w *respelling) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := w.RoundTripper.RoundTrip(r)
	if err == nil && middleware.GetOperationName(r.Context()) == "PutObject" {
		answer.Header.Set("X-Amz-Checksum-Sha256", *hash([32]byte{1}))
	}
	return answer, err
}

// What the store has made something else of is not taken for the file, not by another
// process either: it is replaced, and only that. What is given up is forgotten.
func TestSpoilt(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	web := r.web.Transport
	r.web.Transport = &respelling{web}
	for _, fileID := range []string{"f1", "f2", "f3"} {
		if _, err := r.Put(t.Context(), file("c1", fileID, "a.bin", 1000)); !bridge.OfTarget(err) {
			t.Errorf("%v: %v", bridge.KindOf(err), err)
		}
	}
	r.open()
	f := file("c1", "f1", "a.bin", 1000)
	r.operations()
	r.put(f)
	r.wantOperations("HeadObject", "PutObject")
	r.put(f)
	r.wantOperations("HeadObject")
	foreign := file("c1", "f2", "a.bin", 2000)
	if _, err := r.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("c1/f2/a.bin"), Body: bytes.NewReader(nil)}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), foreign); !bridge.OfFile(err) {
		t.Errorf("%v: %v", bridge.KindOf(err), err)
	}
	if err := r.Abandon(t.Context(), func(_, fileID string) bool { return fileID == "f3" }); err != nil {
		t.Fatal(err)
	}
	r.operations()
	r.put(file("c1", "f3", "a.bin", 1000))
	r.wantOperations("HeadObject", "PutObject")
	r.wantClean()
}

// conflicting is a store at which somebody else is at the key in the moment of the first
// such request.
type conflicting struct {
	http.RoundTripper
	operation string
}

func (c *conflicting) RoundTrip(r *http.Request) (*http.Response, error) {
	if middleware.GetOperationName(r.Context()) == c.operation {
		c.operation = ""
		return (&page{status: http.StatusConflict, text: "<Error><Code>ConditionalRequestConflict</Code></Error>"}).RoundTrip(r)
	}
	return c.RoundTripper.RoundTrip(r)
}

// meeting is a store that says only behind a status of 200 that an object is there, as
// Amazon may of parts.
type meeting struct{ http.RoundTripper }

func (m *meeting) RoundTrip(r *http.Request) (*http.Response, error) {
	if middleware.GetOperationName(r.Context()) == "CompleteMultipartUpload" {
		return (&page{status: http.StatusOK, text: "<Error><Code>PreconditionFailed</Code></Error>"}).RoundTrip(r)
	}
	return m.RoundTripper.RoundTrip(r)
}

// That an object is there counts also behind a status of 200.
func TestTakenBehindSuccess(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	mine, theirs := file("c1", "f1", "a.bin", 6*mib), file("c1", "f1", "a.bin", 6*mib+1)
	other := r.other(r.o.Key).asAmazon()
	other.web.Transport = &meeting{other.web.Transport}
	other.putUntil(theirs, 5*mib)
	r.put(mine)
	if _, err := other.Put(t.Context(), theirs); !bridge.OfFile(err) || !strings.Contains(err.Error(), "another object is called so") {
		t.Errorf("%v: %v", bridge.KindOf(err), err)
	}
	other.wantClean()
}

// A conflict with somebody at the same key is nobody's fault: it is tried again, parts
// from the beginning, as Amazon wants it.
func TestConflict(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	web := r.web.Transport
	r.web.Transport = &conflicting{web, "PutObject"}
	f := file("c1", "f1", "a.bin", 100)
	if _, err := r.Put(t.Context(), f); !bridge.OfTarget(err) || bridge.OfFile(err) {
		t.Errorf("%v: %v", bridge.KindOf(err), err)
	}
	r.put(f)
	g := file("c1", "f2", "a.bin", 6*mib)
	r.web.Transport = &conflicting{web, "CompleteMultipartUpload"}
	r.put(g)
	r.wantObject("c1/f2/a.bin", g)
	r.wantClean()
}

// A manifest whose key would be too long is told before anything is sent.
func TestManifestKey(t *testing.T) {
	t.Parallel()
	r := openRig(t, func(o *Options) {
		o.Manifest, o.Key = manifestAlways, strings.Repeat("x", 400)+"/${clientid}/${fileid}/${name}"
	})
	f := file(strings.Repeat("c", 255), strings.Repeat("f", 255), strings.Repeat("n", 105), 1)
	if _, err := r.Put(t.Context(), f); !bridge.OfFile(err) || !strings.Contains(err.Error(), "the key of the manifest") {
		t.Errorf("%v", err)
	}
	r.wantOperations()
}
