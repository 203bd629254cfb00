package s3

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// elsewhen is the store as one sees it whose own clock is wrong by as much: its times
// are shifted, on the way.
type elsewhen struct {
	*httptest.Server
	shift  time.Duration
	silent bool // it says no date

	mu    sync.Mutex
	older map[string]time.Duration // by upload id: begun so much earlier
}

func openElsewhen(t *testing.T, store string) *elsewhen {
	t.Helper()
	to, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	e := &elsewhen{older: map[string]time.Duration{}}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = to.Host
			// It is signed for the time that the store is believed to have.
			key := aws.Credentials{AccessKeyID: peers.StoreKey, SecretAccessKey: peers.StoreSecret}
			for _, name := range []string{"Authorization", "X-Amz-Date", "X-Forwarded-For"} {
				r.Out.Header.Del(name)
			}
			if err := signer.SignHTTP(r.Out.Context(), key, r.Out, r.Out.Header.Get("X-Amz-Content-Sha256"), "s3", defaultRegion, time.Now()); err != nil {
				t.Error(err)
			}
		},
		ModifyResponse: e.change,
	}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.silent {
			w.Header()["Date"] = nil // else the server says one
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

var (
	uploadForm    = regexp.MustCompile(`(?s)<Upload>.*?</Upload>`)
	uploadIDForm  = regexp.MustCompile(`<UploadId>(.*?)</UploadId>`)
	initiatedForm = regexp.MustCompile(`<Initiated>(.*?)</Initiated>`)
)

// change shifts the times of an answer.
func (e *elsewhen) change(answer *http.Response) error {
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return err
	}
	if answer.Header.Set("Date", date.Add(e.shift).UTC().Format(http.TimeFormat)); e.silent {
		answer.Header.Del("Date")
	}
	if answer.ContentLength == 0 || !answer.Request.URL.Query().Has("uploads") {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	body = uploadForm.ReplaceAllFunc(body, func(upload []byte) []byte {
		id := string(uploadIDForm.FindSubmatch(upload)[1])
		return initiatedForm.ReplaceAllFunc(upload, func(text []byte) []byte {
			begun, failed := time.Parse(time.RFC3339, string(initiatedForm.FindSubmatch(text)[1]))
			if failed != nil {
				err = failed
			}
			return []byte("<Initiated>" + begun.Add(e.shift-e.older[id]).UTC().Format(time.RFC3339) + "</Initiated>")
		})
	})
	answer.Body = io.NopCloser(bytes.NewReader(body))
	answer.ContentLength = int64(len(body))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return err
}

// An upload whose id a crash has lost is found and aborted however wrong this machine's
// clock is, and others' of the same key, begun at another time, are not, where the store
// says what time it is.
func TestClockOff(t *testing.T) {
	t.Parallel()
	const years = 10 * 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		shift  time.Duration
		silent bool
		others bool // uploads stay
	}{
		"right":          {0, false, true},
		"years behind":   {years, false, true},
		"years ahead":    {-years, false, true},
		"nobody can say": {years, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openRig(t)
			e := openElsewhen(t, r.store.URL())
			e.shift, e.silent = c.shift, c.silent
			r.o.Endpoint = e.URL
			r.open()
			f := file("c1", "f1", "a.bin", 7*mib)
			others := map[time.Duration]string{}
			for _, older := range []time.Duration{time.Hour, -time.Hour} {
				out, err := r.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("c1/f1/a.bin")})
				if err != nil {
					t.Fatal(err)
				}
				id := aws.ToString(out.UploadId)
				others[older] = id
				e.mu.Lock()
				e.older[id] = older
				e.mu.Unlock()
			}
			r.crash(2)
			if _, err := r.Put(t.Context(), f); err == nil {
				t.Fatal("there was no crash")
			}
			if u := r.uploads(); len(u) != 3 {
				t.Fatalf("uploads %q", u)
			}
			r.shelf.failing(nil)
			r.open()
			r.put(f)
			r.wantObject("c1/f1/a.bin", f)
			r.shelf.wantEmpty(t)
			want := 0
			if c.others {
				want = len(others)
			}
			left := r.uploads()
			if len(left) != want {
				t.Errorf("uploads %q, want %d of others", left, want)
			}
			for _, id := range others {
				_, err := r.client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("c1/f1/a.bin"), UploadId: &id})
				if there := err == nil; there != c.others {
					t.Errorf("somebody else's upload: %v", err)
				}
			}
		})
	}
}

// When an upload is begun it is known what time it is at the store, also when nothing was
// heard of it lately.
func TestTimeThere(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	for _, fileID := range []string{"f1", "f2"} {
		f := file("c1", fileID, "a.bin", 7*mib)
		r.putUntil(f, 5*mib)
		u, err := r.kept("c1", fileID)
		if err != nil || u == nil || u.Asked.IsZero() {
			t.Errorf("%s: %+v, %v", fileID, u, err)
		}
		r.put(f)
		r.clock.mu.Lock()
		r.clock.heard = r.clock.heard.Add(-goodFor)
		r.clock.mu.Unlock()
	}
}
