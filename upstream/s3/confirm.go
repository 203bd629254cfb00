package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// strangeAnswer is a success that no store has said. A web server with a page for
// whatever it is asked, the port of a store's console, a login page on the way and a
// proxy answer 200 to a file, and keep nothing of it.
type strangeAnswer struct{ text string }

// Error is the text.
func (e *strangeAnswer) Error() string { return e.text }

// The successes of which something is missing that every store says.
var (
	errNoETag   = &strangeAnswer{"the answer is a success without an ETag, as no store gives it"}
	errNoUpload = &strangeAnswer{"the answer is a success without an id of the upload, as no store gives it"}
	errNoBucket = &strangeAnswer{"the answer is a list of no bucket, as no store gives it"}
	errNoObject = &strangeAnswer{"the answer is a success, and the object is not there"}
	errOther    = &strangeAnswer{"the answer is a success with the checksum of something else"}
)

// confirm makes sure that an object is there whose PutObject was a success: the file
// is forgotten here on its word. Most stores say the checksum that they have computed;
// of others the object is looked at. One that takes an object, says its ETag, and lets
// nobody look is believed.
func (t *Target) confirm(ctx context.Context, key string, sum [sha256.Size]byte, size int64, said *s3.PutObjectOutput) error {
	switch {
	case aws.ToString(said.ETag) == "":
		return errNoETag
	case said.ChecksumSHA256 == nil:
	case *said.ChecksumSHA256 == *hash(sum):
		return nil
	default:
		return errOther
	}
	there, err := t.same(ctx, key, sum, size)
	switch {
	case answered(err, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented):
		return nil
	case err == nil && !there:
		return errNoObject
	}
	return err
}

// same reports whether an object with the content is at a key.
func (t *Target) same(ctx context.Context, key string, sum [sha256.Size]byte, size int64) (bool, error) {
	out, err := t.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &t.o.Bucket, Key: &key})
	switch {
	case answered(err, http.StatusNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	return aws.ToInt64(out.ContentLength) == size && out.Metadata[metaSum] == hex.EncodeToString(sum[:]), nil
}

// answered reports whether the store has answered with one of the statuses.
func answered(err error, statuses ...int) bool {
	answer, ok := errors.AsType[*smithyhttp.ResponseError](err)
	return ok && slices.Contains(statuses, answer.HTTPStatusCode())
}
