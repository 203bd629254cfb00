package delivery

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefusals: what the cloud says of a file is what devices hear, and it is not asked
// with each of their requests; once it is mended there the file is served.
func TestRefusals(t *testing.T) {
	content := bytes.Repeat([]byte("firmware"), 20_000)
	for name, c := range map[string]struct {
		harm  func(s *awsStream)
		mend  func(s *awsStream)
		first error // of the request that went up; a Fault: its code
		later error
	}{
		"the object was replaced": {func(s *awsStream) { s.refuses = &Fault{Code: ETagMismatch} }, nil, &Fault{Code: ETagMismatch}, &Fault{Code: ETagMismatch}},
		"the object is gone":      {func(s *awsStream) { s.refuses = &Fault{Code: ResourceNotFound} }, nil, &Fault{Code: ResourceNotFound}, &Fault{Code: ResourceNotFound}},
		"the object is forbidden": {func(s *awsStream) { s.refuses = &Fault{Code: Unauthorized} }, nil, &Fault{Code: Unauthorized}, &Fault{Code: Unauthorized}},
		"it refuses what it says": {func(s *awsStream) { s.refuses = &Fault{Code: VersionMismatch} }, nil, errVersion, errVersion},
		"it has trouble":          {func(s *awsStream) { s.refuses = &Fault{Code: InternalError} }, nil, errAway, errAway},
		"it has more": {func(s *awsStream) { s.sizes = map[int]int64{0: 100_000} }, func(s *awsStream) { s.sizes = nil },
			errAway, &Fault{Code: InternalError}},
		"it has less": {func(s *awsStream) { s.files[0] = content[:10_000]; s.sizes = map[int]int64{0: 160_000} },
			func(s *awsStream) { s.files[0], s.sizes = content, nil }, errAway, &Fault{Code: InternalError}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAWS(t)
				there := a.put("fw", 1, content)
				c.harm(there)
				cloud := a.site(t.TempDir(), func(o *CloudOptions) { o.Recheck = 30 * time.Second })
				defer cloud.Close()
				last := func() error {
					s, err := cloud.stream(t.Context(), "pump-7", "fw")
					if err != nil {
						t.Fatal(err)
					}
					f := s.file(0)
					_, err = cloud.chunk(t.Context(), s, f, f.chunks()-1)
					return err
				}
				want := func(got, want error) {
					t.Helper()
					said, is := errors.AsType[*Fault](got)
					if f, code := errors.AsType[*Fault](want); code != is || is && said.Code != f.Code || !is && !errors.Is(got, want) {
						t.Errorf("got %v, want %v", got, want)
					}
				}
				want(last(), c.first)
				for range 5 * 60 { // five minutes of a device that asks each second
					time.Sleep(time.Second) // of synctest
					if err := last(); !errors.Is(err, errAway) {
						want(err, c.later)
					}
				}
				gets, describes := a.count(verbGet), a.count(verbDescribe)
				most := 6
				if name == "it has trouble" {
					most = 3 * 31 // which may pass
				}
				if gets > most || describes > 45 {
					t.Errorf("the cloud was asked %d times for blocks and %d times what there is", gets, describes)
				}
				there.refuses = nil
				if c.mend != nil {
					c.mend(there)
				}
				time.Sleep(refusedFor + time.Second)
				if err := last(); err != nil {
					t.Errorf("mended: %v", err)
				}
			})
		})
	}
}

// TestDownloadOfWhatIsRefused: a far side that describes a version and refuses it is told
// about, and not asked for ever.
func TestDownloadOfWhatIsRefused(t *testing.T) {
	for _, code := range []Code{VersionMismatch, ETagMismatch, ResourceNotFound} {
		synctest.Test(t, func(t *testing.T) {
			a := newAWS(t)
			a.put("fw", 1, []byte("firmware")).refuses = &Fault{Code: code, Text: "no"}
			d := &Download{Client: a.client, Stream: "fw", Path: filepath.Join(t.TempDir(), "fw.bin"), Block: 1024, Blocks: 4, Wait: time.Minute}
			_, err := d.Run(t.Context())
			if f, is := errors.AsType[*Fault](err); !is || f.Code != code || a.count(verbDescribe) > mostRefused {
				t.Errorf("%s: %v, described %d times", code, err, a.count(verbDescribe))
			}
		})
	}
}
