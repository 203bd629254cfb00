package s3

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Abandon implements bridge.FileTarget: it aborts the uploads of files that nobody
// will put any more.
func (t *Target) Abandon(ctx context.Context, stays func(clientID, fileID string) bool) error {
	var gone []*upload
	err := t.shelf.Scan(shelfUpload, "", func(_ string, value []byte) bool {
		var u upload
		if decode(value, &u) == nil && !stays(u.ClientID, u.FileID) {
			gone = append(gone, &u)
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, u := range gone {
		if !t.here(u) {
			t.log.Warn("an unfinished upload cannot be aborted: it is not at the store where files go now; its parts cost until a rule there or somebody removes them",
				"endpoint", u.Endpoint, "bucket", u.Bucket, "key", u.Key, "upload", u.ID)
		}
		if err := t.abandon(ctx, u); err != nil {
			return err
		}
	}
	return t.forgetSpoilt(stays)
}

// abandon aborts an upload and forgets it.
func (t *Target) abandon(ctx context.Context, u *upload) error {
	if t.here(u) {
		ids := []string{u.ID}
		if u.ID == "" {
			var err error
			if ids, err = t.asked(ctx, u); err != nil {
				return t.explain("the uploads of "+u.Key+" cannot be listed", err)
			}
		}
		for _, id := range ids {
			_, err := t.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.Bucket, Key: &u.Key, UploadId: &id})
			if err != nil && !is(err, "NoSuchUpload", "NoSuchBucket") {
				return t.explain("the upload of "+u.Key+" cannot be aborted", err)
			}
		}
	}
	return t.forget(ctx, u)
}

// askedFor is how long it may take from what the store's clock says to when it begins
// an upload that it is asked for next, its own machines' differences included.
const askedFor = 15 * time.Minute

// asked finds uploads whose id a crash has lost: those of exactly that key, from about
// the time when we have asked for one. All times are the store's. An upload of somebody
// else to the key of our own file, in those minutes, there is none. Where the time is
// not known, the key has to do.
func (t *Target) asked(ctx context.Context, u *upload) (ids []string, err error) {
	pages := s3.NewListMultipartUploadsPaginator(t.client, &s3.ListMultipartUploadsInput{Bucket: &u.Bucket, Prefix: &u.Key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch {
		case is(err, "NoSuchBucket", "AccessDenied", "NotImplemented"):
			return ids, nil // nobody lets us look
		case err != nil:
			return nil, err
		case aws.ToString(page.Bucket) == "":
			return nil, errNoBucket
		}
		for _, x := range page.Uploads {
			if aws.ToString(x.Key) == u.Key && u.mayBe(aws.ToTime(x.Initiated)) {
				ids = append(ids, aws.ToString(x.UploadId))
			}
		}
	}
	return ids, nil
}

// mayBe reports whether an upload that the store has begun then may be the one that was
// asked for.
func (u *upload) mayBe(begun time.Time) bool {
	return u.Asked.IsZero() || begun.IsZero() || !u.There || begun.Sub(u.Asked).Abs() <= askedFor
}
