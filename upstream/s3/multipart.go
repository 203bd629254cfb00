package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	gohash "hash"
	"io"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/ebbgate/ebbgate/bridge"
)

// putParts puts a file in parts, from where an earlier attempt has come. An upload
// that the store has forgotten, as lifecycle rules and operators make it do, is
// begun anew, once: a store that forgets faster than we send gets another chance
// with the next attempt.
func (t *Target) putParts(ctx context.Context, f *bridge.File, o *object) (made bool, err error) {
	for range 2 {
		if made, err = t.putPartsOnce(ctx, f, o); !errors.Is(err, errGone) {
			return made, err
		}
		t.log.Warn("an upload to S3 begins anew: the store does not know it any more", "client", f.ClientID, "file", f.FileID, "key", o.key)
	}
	return false, bridge.Errorf(bridge.OpExport, bridge.Unavailable, "%s: the store in bucket %s%s has forgotten the upload twice in a row; look whether a rule aborts unfinished uploads at once", f.Name, t.o.Bucket, t.at())
}

func (t *Target) putPartsOnce(ctx context.Context, f *bridge.File, o *object) (made bool, err error) {
	s, err := t.resume(ctx, f, o)
	if err == nil && s == nil {
		// Who has sent a gigabyte is not told only then that its key is another's.
		if whose, err := t.vacant(ctx, o); err != nil || whose == itself {
			return false, err
		}
		s, err = t.begin(ctx, f, o)
	}
	if err != nil || s.finished {
		return false, err
	}
	for number := int32(len(s.parts)) + 1; number <= s.parts32(); number++ {
		if err := t.putPart(ctx, f, s, number); err != nil {
			return false, err
		}
	}
	return t.complete(ctx, f, o, s)
}

// sending is an upload that goes on.
type sendingUpload struct {
	*upload
	parts    []part
	hash     gohash.Hash // of the file, as far as the parts go
	there    map[int32]types.Part
	finished bool // the object is there already
}

func (s *sendingUpload) parts32() int32 { return s.upload.parts() }

// partSize is large enough that S3's 10000 parts make the file.
func (t *Target) partSize(size int64) int64 {
	const step = 1 << 20
	least := (size + mostParts - 1) / mostParts
	return max(int64(t.o.PartSize), (least+step-1)/step*step)
}

// begin asks for a new upload. That it will is on the shelf before, so that a
// crash in between leaves no upload that nobody knows.
func (t *Target) begin(ctx context.Context, f *bridge.File, o *object) (*sendingUpload, error) {
	u := &upload{
		ClientID: f.ClientID, FileID: f.FileID, Endpoint: t.o.Endpoint, Bucket: t.o.Bucket, Key: o.key,
		Asked: t.clock.now(), There: true, Size: f.Size, Sum: f.SHA256[:], PartSize: t.partSize(f.Size),
	}
	if err := t.forgetParts(u); err != nil {
		return nil, err
	}
	if err := t.keep(ctx, shelfUpload, u.shelfKey(), u); err != nil {
		return nil, err
	}
	id, err := t.create(ctx, o)
	if err != nil {
		return nil, t.explain("an upload of "+f.Name+" cannot be begun", err)
	}
	u.ID = id
	if err := t.keep(ctx, shelfUpload, u.shelfKey(), u); err != nil {
		return nil, err
	}
	return &sendingUpload{upload: u, hash: sha256.New()}, nil
}

func (t *Target) create(ctx context.Context, o *object) (string, error) {
	sse, key := t.encryption()
	out, err := t.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &t.o.Bucket, Key: &o.key, ContentType: &o.kind, Metadata: o.meta, ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		ACL: t.acl(), StorageClass: types.StorageClass(t.o.StorageClass), ServerSideEncryption: sse, SSEKMSKeyId: key,
	}, onceOnly)
	if err != nil {
		return "", err
	}
	if aws.ToString(out.UploadId) == "" {
		return "", errNoUpload
	}
	return *out.UploadId, nil
}

// resume takes up what an earlier attempt has begun, nil when there is nothing. An
// upload of another content, or to another place, is aborted.
func (t *Target) resume(ctx context.Context, f *bridge.File, o *object) (*sendingUpload, error) {
	u, err := t.kept(f.ClientID, f.FileID)
	if err != nil || u == nil {
		return nil, err
	}
	if u.ID == "" || !t.here(u) || u.Key != o.key || u.Size != f.Size || !bytes.Equal(u.Sum, f.SHA256[:]) {
		return nil, t.abandon(ctx, u)
	}
	s := &sendingUpload{upload: u, hash: sha256.New()}
	if s.parts, err = t.keptParts(u); err != nil {
		return nil, err
	}
	err = t.compare(ctx, s)
	if errors.Is(err, errGone) {
		// It may be because the object was made of it, and the answer was lost.
		if s.finished = u.Whole && t.made(ctx, o); s.finished {
			return s, t.forget(ctx, u)
		}
		return nil, errors.Join(err, t.forget(ctx, u))
	}
	if err != nil {
		return nil, t.explain("the parts of "+f.Name+" cannot be listed", err)
	}
	if n := len(s.parts); n > 0 {
		if s.hash, err = restored(s.parts[n-1].State); err != nil {
			return nil, errors.Join(err, t.abandon(ctx, u))
		}
	}
	return s, nil
}

// here reports whether an upload is one of this bucket.
func (t *Target) here(u *upload) bool { return u.Bucket == t.o.Bucket && u.Endpoint == t.o.Endpoint }

// compare holds our list of parts against the store's: what it does not have is
// sent again. A store that does not let us look is believed to have them; it will
// say what it misses when the object is to be made.
func (t *Target) compare(ctx context.Context, s *sendingUpload) error {
	s.there = map[int32]types.Part{}
	pages := s3.NewListPartsPaginator(t.client, &s3.ListPartsInput{Bucket: &s.Bucket, Key: &s.Key, UploadId: &s.ID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch {
		case is(err, "NoSuchUpload"):
			return errGone
		case is(err, "AccessDenied", "NotImplemented"):
			return nil
		case err != nil:
			return err
		}
		for _, p := range page.Parts {
			s.there[aws.ToInt32(p.PartNumber)] = p
		}
	}
	missing := slices.IndexFunc(s.parts, func(p part) bool {
		at := s.there[p.Number]
		_, length := s.span(p.Number)
		return aws.ToString(at.ETag) != p.ETag || aws.ToInt64(at.Size) != length
	})
	if missing >= 0 {
		s.parts = s.parts[:missing]
	}
	return nil
}

// putPart sends one part, unless the store has it already, and notes it. Its hash
// is taken first: the store checks it, and the last part of a file that is not
// what was verified is never sent.
func (t *Target) putPart(ctx context.Context, f *bridge.File, s *sendingUpload, number int32) error {
	offset, length := s.span(number)
	own := sha256.New()
	if _, err := io.Copy(io.MultiWriter(own, s.hash), f.Compared(ctx, offset, length)); err != nil {
		return unreadable(f, err)
	}
	sum := [sha256.Size]byte(own.Sum(nil))
	if number == s.parts32() && [sha256.Size]byte(s.hash.Sum(nil)) != f.SHA256 {
		return errors.Join(changed(f), t.abandon(ctx, s.upload))
	}
	etag, err := t.sendPart(ctx, f, s, number, sum)
	if err != nil {
		return err
	}
	p := part{Number: number, ETag: etag, Sum: sum[:], State: stateOf(s.hash)}
	if err := t.keep(ctx, shelfPart, s.partKey(number), p); err != nil {
		return err
	}
	s.parts = append(s.parts, p)
	return nil
}

func (t *Target) sendPart(ctx context.Context, f *bridge.File, s *sendingUpload, number int32, sum [sha256.Size]byte) (etag string, err error) {
	offset, length := s.span(number)
	if p, ok := s.there[number]; ok && aws.ToInt64(p.Size) == length && aws.ToString(p.ChecksumSHA256) == base64.StdEncoding.EncodeToString(sum[:]) {
		return aws.ToString(p.ETag), nil // it was sent, and a crash came before our note of it
	}
	content := t.body(ctx, f, offset, length)
	out, err := t.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.Bucket, Key: &s.Key, UploadId: &s.ID, PartNumber: &number, ContentLength: &length, ChecksumSHA256: hash(sum), Body: content,
	}, signed(sum))
	switch {
	case err == nil && aws.ToString(out.ETag) == "":
		err = errNoETag
	case err == nil && out.ChecksumSHA256 != nil && *out.ChecksumSHA256 != *hash(sum):
		err = errOther
	case err == nil: // what is made of the parts is confirmed in the end
		return *out.ETag, nil
	case content.err != nil:
		return "", unreadable(f, content.err)
	case is(err, "NoSuchUpload"):
		return "", errors.Join(errGone, t.forget(ctx, s.upload))
	}
	return "", t.explain(fmt.Sprintf("part %d of %d of %s cannot be sent", number, s.parts32(), f.Name), err)
}

// complete makes the object of its parts, unless one is there.
func (t *Target) complete(ctx context.Context, f *bridge.File, o *object, s *sendingUpload) (made bool, err error) {
	s.Whole = true
	if err := t.keep(ctx, shelfUpload, s.shelfKey(), s.upload); err != nil {
		return false, err
	}
	list := make([]types.CompletedPart, len(s.parts))
	for i := range s.parts {
		p := &s.parts[i]
		list[i] = types.CompletedPart{PartNumber: &p.Number, ETag: &p.ETag, ChecksumSHA256: hash([sha256.Size]byte(p.Sum))}
	}
	made, err = t.makeNew(ctx, o, func(condition *string) error {
		out, err := t.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.Bucket, Key: &s.Key, UploadId: &s.ID, MultipartUpload: &types.CompletedMultipartUpload{Parts: list}, IfNoneMatch: condition,
		})
		if err == nil {
			err = t.confirmParts(ctx, f, o, s, out)
		}
		return err
	})
	failed := t.explain("no object can be made of the parts of "+f.Name, err)
	switch {
	case made:
		return true, t.forget(ctx, s.upload)
	case err == nil: // it was there, by this upload or another
		return false, t.abandon(ctx, s.upload)
	case errors.Is(err, errTaken):
		return false, errors.Join(failed, t.abandon(ctx, s.upload))
	case errors.Is(err, errOther):
		return false, errors.Join(failed, t.spoil(ctx, f, o), t.abandon(ctx, s.upload))
	case is(err, "NoSuchUpload") && t.made(ctx, o):
		return false, t.forget(ctx, s.upload)
	case is(err, "NoSuchUpload"):
		return false, errors.Join(errGone, t.forget(ctx, s.upload))
	case is(err, "InvalidPart", "InvalidPartOrder", "ConditionalRequestConflict"):
		return false, errors.Join(errGone, t.abandon(ctx, s.upload))
	}
	return false, failed
}

// signed has the SDK sign a body by its hash, which we know, instead of reading it
// for that.
func signed(sum [sha256.Size]byte) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("KnownHash", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				return next.HandleInitialize(v4.SetPayloadHash(ctx, fmt.Sprintf("%x", sum)), in)
			}), middleware.Before)
		})
	}
}
