package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
)

// What a real store refuses is the target's fault, and the text says what a person
// can do; no secret is in it.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Options)
		kind   bridge.Kind
		want   string
	}{
		"secret":      {func(o *Options) { o.SecretAccessKey = "a-wrong-secret" }, bridge.NotAuthorized, "SignatureDoesNotMatch"},
		"key":         {func(o *Options) { o.AccessKeyID = "nobody" }, bridge.NotAuthorized, "correct access_key_id and secret_access_key"},
		"credentials": {func(o *Options) { o.AccessKeyID, o.SecretAccessKey = "", "" }, bridge.NotAuthorized, "give the gateway a profile"},
		"bucket":      {func(o *Options) { o.Bucket = "nobodys" }, bridge.Unavailable, "create the bucket"},
		"region":      {func(o *Options) { o.Region = "eu-north-7" }, bridge.Unavailable, "region"},
		"host":        {func(o *Options) { o.Endpoint = "http://" + peers.FreeAddr(t) }, bridge.Unavailable, "connection refused"},
		"tls":         {func(o *Options) { o.Endpoint = "https" + strings.TrimPrefix(o.Endpoint, "http") }, bridge.Unavailable, "HTTPS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openRig(t, c.change)
			for _, size := range []int{10, 6 * mib} {
				_, err := r.Put(t.Context(), file("c1", "f1", "a.bin", size))
				if bridge.KindOf(err) != c.kind || !bridge.OfTarget(err) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), r.o.Bucket) {
					t.Errorf("%v: %v", bridge.KindOf(err), err)
				}
				if strings.Contains(err.Error(), "secret-key") || strings.Contains(err.Error(), "a-wrong-secret") {
					t.Errorf("a secret: %v", err)
				}
			}
			if err := r.Check(t.Context()); bridge.KindOf(err) != c.kind {
				t.Errorf("the check: %v", err)
			}
		})
	}
}

// A check finds nothing wrong where nothing is, and leaves nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	r := openRig(t)
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k := r.keys(); len(k) > 0 {
		t.Errorf("objects %q", k)
	}
	r.wantClean()
}

// scripted is a target at a server that answers as the test wants.
func scripted(t *testing.T, answer http.HandlerFunc, changes ...func(*Options)) *Target {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	o := DefaultOptions()
	o.Endpoint, o.PathStyle, o.Bucket, o.AccessKeyID, o.SecretAccessKey = server.URL, true, bucket, "key", "secret"
	for _, change := range changes {
		change(&o)
	}
	target, err := Open(o, newShelf(), nil, Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	return target
}

// Whose fault an answer is decides whether others wait.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bridge.Kind{
		"403 AccessDenied":         bridge.NotAuthorized,
		"400 ExpiredToken":         bridge.NotAuthorized,
		"403 RequestTimeTooSkewed": bridge.Unavailable,
		"400 KeyTooLongError":      bridge.TopicInvalid,
		"400 EntityTooLarge":       bridge.TooLarge,
		"400 MetadataTooLarge":     bridge.PayloadInvalid,
		"301 PermanentRedirect":    bridge.Unavailable,
		"503 SlowDown":             bridge.Unavailable,
		"503 ":                     bridge.Unavailable,
		"429 ":                     bridge.Unavailable,
		"507 ":                     bridge.Full,
		"401 ":                     bridge.NotAuthorized,
		"500 InternalError":        bridge.Internal,
		"400 NeverHeardOf":         bridge.Internal,
	} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			var status int
			var code string
			if _, err := fmt.Sscanf(answer+" ", "%d %s", &status, &code); err != nil && code != "" {
				t.Fatal(err)
			}
			target := scripted(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Method == http.MethodHead {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				w.WriteHeader(status)
				if code != "" {
					_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>words of the store</Message></Error>", code)
				}
			})
			_, err := target.Put(t.Context(), file("c1", "f1", "a", 1))
			if bridge.KindOf(err) != want || !strings.Contains(err.Error(), code) {
				t.Errorf("%v: %v", bridge.KindOf(err), err)
			}
		})
	}
}

// A store that takes a connection and says nothing is given up, and an end of the
// context is nobody's fault.
func TestSilence(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	target := scripted(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}, func(o *Options) { o.Timeout = time.Second })
	defer close(end)
	_, err := target.Put(t.Context(), file("c1", "f1", "a", 1))
	if bridge.KindOf(err) != bridge.Unavailable {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := target.Put(ctx, file("c1", "f1", "a", 1)); !errors.Is(err, context.Canceled) || bridge.KindOf(err) != bridge.Internal {
		t.Errorf("%v", err)
	}
}

// What the options ask for is in the request, and the hash of the body is signed.
func TestRequest(t *testing.T) {
	t.Parallel()
	var got http.Header
	var path, host string
	target := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		got, path, host = r.Header.Clone(), r.URL.Path, r.Host
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("X-Amz-Checksum-Sha256", r.Header.Get("X-Amz-Checksum-Sha256"))
	}, func(o *Options) {
		o.StorageClass, o.ACL, o.SSE, o.SSEKey, o.Key = "STANDARD_IA", "bucket-owner-full-control", "aws:kms", "key-7", "site-7/dev-${clientid}/${fileid}/${name}"
	})
	f := file("c1", "f1", "a.json", 100)
	if _, err := target.Put(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"X-Amz-Storage-Class": "STANDARD_IA", "X-Amz-Acl": "bucket-owner-full-control", "X-Amz-Server-Side-Encryption": "aws:kms",
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "key-7", "Content-Type": "application/json",
		"X-Amz-Content-Sha256": sumText(f), "X-Amz-Checksum-Sha256": *hash(f.SHA256), "X-Amz-Meta-Clientid": "c1", "If-None-Match": "*", "X-Amz-Meta-Filemeta-Vsn": "1",
	} {
		if got.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Get(name), want)
		}
	}
	if path != "/files/site-7/dev-c1/f1/a.json" {
		t.Errorf("path %q", path)
	}
	if strings.HasPrefix(host, bucket) {
		t.Errorf("host %q", host)
	}
}

// Options that could not work are found before anything runs.
func TestValidate(t *testing.T) {
	good := func(o *Options) { o.Bucket = "files" }
	if ps := scriptedOptions(good).Validate(); len(ps) > 0 {
		t.Errorf("%+v", ps)
	}
	for path, change := range map[string]func(*Options){
		"bucket": func(o *Options) { o.Bucket = "" }, "endpoint": func(o *Options) { o.Endpoint = "minio:9000" }, "key": func(o *Options) { o.Key = "${clientid}/x" },
		"storage_class": func(o *Options) { o.StorageClass = "standard" }, "sse_key": func(o *Options) { o.SSEKey = "k" }, "min_part_size": func(o *Options) { o.PartSize = 1 << 20 },
		"timeout": func(o *Options) { o.Timeout = 0 }, "url_expire_time": func(o *Options) { o.URLExpire = 8 * 24 * time.Hour }, "ca": func(o *Options) { o.CA = "/nowhere.pem" },
		"proxy": func(o *Options) { o.Proxy.Proxy = "socks5://x" }, "secret_access_key": func(o *Options) { o.AccessKeyID = "a" }, "access_key_id": func(o *Options) { o.SecretAccessKey = "s" },
		"profile": func(o *Options) { o.Profile, o.AccessKeyID, o.SecretAccessKey = "p", "a", "s" },
	} {
		ps := scriptedOptions(good, change).Validate()
		if len(ps) != 1 || ps[0].Path != path || ps[0].Remedy == "" {
			t.Errorf("%s: %+v", path, ps)
		}
	}
}

func scriptedOptions(changes ...func(*Options)) Options {
	o := DefaultOptions()
	for _, change := range changes {
		change(&o)
	}
	return o
}
