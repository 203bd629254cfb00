package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Target is a bridge.FileTarget. It is safe for concurrent use.
type Target struct {
	o      Options
	path   upstream.FilePath
	shelf  Shelf
	log    *slog.Logger
	web    *http.Client
	client *s3.Client
	clock  *storeClock
	pace   bridge.FilePace // nil: as fast as it goes

	unconditional atomic.Bool // the store has turned out not to know If-None-Match
}

var _ bridge.FileTarget = (*Target)(nil)

// Open makes a target from valid options. The store is not asked before the first
// file comes: a gateway starts without a network.
func Open(o Options, shelf Shelf, log *slog.Logger, h Hooks) (*Target, error) {
	path, err := upstream.ParseFilePath(o.Key)
	if err != nil {
		return nil, fmt.Errorf("file_transfer.export.s3.key: %w", err)
	}
	clock := &storeClock{}
	web, err := newWeb(o, h, clock)
	if err != nil {
		return nil, fmt.Errorf("file_transfer.export.s3: %w", err)
	}
	t := &Target{o: o, path: path, shelf: shelf, log: log, web: web, clock: clock, pace: h.Pace}
	if t.client, err = newClient(context.Background(), o, web); err != nil {
		return nil, err
	}
	return t, nil
}

// Close ends the connections that nothing is under way on.
func (t *Target) Close() error {
	t.web.CloseIdleConnections()
	return nil
}

// Put implements bridge.FileTarget.
func (t *Target) Put(ctx context.Context, f *bridge.File) (string, error) {
	o, err := t.objectOf(f)
	if err != nil {
		return "", err
	}
	if o.spoilt, err = t.isSpoilt(f, o); err != nil {
		return "", err
	}
	var made bool
	if f.Size <= int64(t.o.PartSize) {
		made, err = t.putWhole(ctx, f, o)
	} else {
		made, err = t.putParts(ctx, f, o)
	}
	if err == nil && o.spoilt {
		err = t.replaced(ctx, f)
	}
	if err == nil && o.manifest {
		err = t.putManifest(ctx, f, o, made)
	}
	if err != nil {
		return "", err
	}
	return scheme + t.o.Bucket + "/" + o.key, nil
}

// putManifest puts what the device said beside its object, of which it is certain by now
// that it is this file's: what it replaces is of no object. Beside one that was there
// already a manifest stays.
func (t *Target) putManifest(ctx context.Context, f *bridge.File, o *object, made bool) error {
	text := f.Manifest()
	sum := sha256.Sum256(text)
	beside := *o
	beside.size, beside.spoilt = int64(len(text)), false
	beside.key, beside.kind = o.key+bridge.ManifestSuffix, "application/json"
	beside.meta = map[string]string{metaClient: o.meta[metaClient], metaFile: o.meta[metaFile], metaVersion: "1", metaSum: hex.EncodeToString(sum[:])}
	ask := func(condition *string) error {
		in := t.putInput(&beside, sum, condition)
		in.Body = bytes.NewReader(text)
		out, err := t.client.PutObject(ctx, in, signed(sum))
		if err == nil {
			err = t.confirm(ctx, &beside, sum, out)
		}
		return err
	}
	var err error
	if made {
		err = ask(nil)
	} else if _, err = t.makeNew(ctx, &beside, ask); errors.Is(err, errTaken) {
		err = nil
	}
	return t.explain("the manifest of "+f.Name+" cannot be put", err)
}

// putWhole puts a file of one part. What it is made of is read twice, and is what
// was verified or nothing: the store refuses what has another hash.
func (t *Target) putWhole(ctx context.Context, f *bridge.File, o *object) (made bool, err error) {
	h := sha256.New()
	if _, err := io.Copy(h, f.Compared(ctx, 0, f.Size)); err != nil {
		return false, unreadable(f, err)
	}
	if [sha256.Size]byte(h.Sum(nil)) != f.SHA256 {
		return false, changed(f)
	}
	var content *body
	made, err = t.makeNew(ctx, o, func(condition *string) error {
		in := t.putInput(o, f.SHA256, condition)
		content = t.body(ctx, f, 0, f.Size)
		in.Body = content
		out, err := t.client.PutObject(ctx, in, signed(f.SHA256))
		if err == nil {
			err = t.confirm(ctx, o, f.SHA256, out)
		}
		return err
	})
	switch {
	case errors.Is(err, errOther):
		return false, errors.Join(t.explain(f.Name+" cannot be put", err), t.spoil(ctx, f, o))
	case err != nil && content != nil && content.err != nil:
		return false, unreadable(f, content.err)
	}
	return made, t.explain(f.Name+" cannot be put", err)
}

func (t *Target) putInput(o *object, sum [sha256.Size]byte, condition *string) *s3.PutObjectInput {
	sse, key := t.encryption()
	return &s3.PutObjectInput{
		Bucket: &t.o.Bucket, Key: &o.key, ContentLength: &o.size, ContentType: &o.kind, Metadata: o.meta, ChecksumSHA256: hash(sum), IfNoneMatch: condition,
		ACL: t.acl(), StorageClass: types.StorageClass(t.o.StorageClass), ServerSideEncryption: sse, SSEKMSKeyId: key,
	}
}

// body is what is sent of a file, at the pace of files. It remembers that it could not
// be read, or had to wait: that is not the store's fault.
type body struct {
	*io.SectionReader
	ctx  context.Context
	pace bridge.FilePace // nil: none
	err  error
}

func (t *Target) body(ctx context.Context, f *bridge.File, offset, length int64) *body {
	return &body{SectionReader: io.NewSectionReader(f.Content, offset, length), ctx: ctx, pace: t.pace}
}

// pacedRead is the most that is read at once at a pace: on a thin line what a pause
// follows is short, and the pause too, since a store hangs up on who is silent.
const pacedRead = 8 << 10

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.pace != nil && len(p) > 0 {
		p = p[:min(len(p), pacedRead)]
		if err := b.pace.Wait(b.ctx, len(p)); err != nil {
			b.err = err
			return 0, err
		}
	}
	n, err := b.SectionReader.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// unreadable is that our own disk does not give the file, or that it has to wait.
func unreadable(f *bridge.File, err error) error {
	if errors.Is(err, bridge.ErrHeld) {
		return err
	}
	return fmt.Errorf("export: read %s: %w", f.Name, err)
}

// changed is that the disk gives something else than what was verified.
func changed(f *bridge.File) error {
	return bridge.Errorf(bridge.OpExport, bridge.Corrupt, "what was read of %s is not what was verified when it came: its checksum is another; nothing of it is at the store", f.Name)
}

// scheme begins a place: s3://bucket/key.
const scheme = "s3://"

// keyAt is the key of a place.
func (t *Target) keyAt(place string) (string, error) {
	if key, ok := strings.CutPrefix(place, scheme+t.o.Bucket+"/"); ok && key != "" {
		return key, nil
	}
	return "", bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "%s is not in bucket %s, where files go now", place, t.o.Bucket)
}

// Remove implements bridge.FileTarget. The manifest goes too, if there may be one.
func (t *Target) Remove(ctx context.Context, place string) error {
	key, err := t.keyAt(place)
	if err != nil {
		return err
	}
	for _, k := range []string{key + bridge.ManifestSuffix, key} {
		if _, err := t.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &t.o.Bucket, Key: &k}); err != nil && !is(err, "NoSuchKey") {
			return t.explain(key+" cannot be removed", err)
		}
	}
	return nil
}

// Open implements bridge.FileTarget.
func (t *Target) Open(ctx context.Context, place string) (io.ReadCloser, error) {
	return t.OpenFrom(ctx, place, 0, 0)
}

// OpenFrom reads a file that was put there from a byte on, and so many bytes of it, which
// are there, 0 for all that follow: the others do not cross the link.
func (t *Target) OpenFrom(ctx context.Context, place string, from, length int64) (io.ReadCloser, error) {
	key, err := t.keyAt(place)
	if err != nil {
		return nil, err
	}
	in := &s3.GetObjectInput{Bucket: &t.o.Bucket, Key: &key}
	switch {
	case length > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", from, from+length-1))
	case from > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", from))
	}
	out, err := t.client.GetObject(ctx, in)
	if is(err, "NoSuchKey") {
		return nil, bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "%s is not in bucket %s%s: %w", key, t.o.Bucket, t.at(), fs.ErrNotExist)
	}
	if err != nil {
		return nil, t.explain(key+" cannot be read", err)
	}
	if aws.ToString(out.ETag) == "" {
		return nil, errors.Join(t.explain(key+" cannot be read", errNoETag), out.Body.Close())
	}
	if from > 0 && out.ContentRange == nil { // a store that knows no ranges sends the whole
		if _, err := io.CopyN(io.Discard, out.Body, from); err != nil {
			return nil, errors.Join(t.explain(key+" cannot be read", err), out.Body.Close())
		}
	}
	return out.Body, nil
}

// Address is a URL by which somebody without credentials reads a file, for
// url_expire_time at most.
func (t *Target) Address(ctx context.Context, place string) (string, error) {
	key, err := t.keyAt(place)
	if err != nil {
		return "", err
	}
	r, err := s3.NewPresignClient(t.client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &t.o.Bucket, Key: &key}, s3.WithPresignExpires(t.o.URLExpire))
	if err != nil {
		return "", t.explain("an address of "+key+" cannot be made", err)
	}
	return r.URL, nil
}

// Check finds out whether files could be put, and leaves nothing: it begins an
// upload and aborts it, with the rights that an export needs and no others.
func (t *Target) Check(ctx context.Context) error {
	key := t.path(&bridge.File{ClientID: "ebbgate", FileID: "check", Name: "connect"})
	o := &object{key: key, kind: unknownKind}
	id, err := t.create(ctx, o)
	if err != nil {
		return t.explain("nothing can be put", err)
	}
	_, err = t.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &t.o.Bucket, Key: &key, UploadId: &id})
	return t.explain("an upload cannot be aborted", err)
}

// errGone is that the store does not know an upload any more.
var errGone = errors.New("the store does not know the upload any more")
