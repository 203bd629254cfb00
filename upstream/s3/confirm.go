package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ebbgate/ebbgate/bridge"
)

// strangeAnswer is a success that no store has said. A web server with a page for
// whatever it is asked, the port of a store's console, a login page on the way and a
// proxy answer 200 to a file, and keep nothing of it.
type strangeAnswer struct{ text string }

// Error is the text.
func (e *strangeAnswer) Error() string { return e.text }

// The successes of which something is missing that every store says.
var (
	errNoETag    = &strangeAnswer{"the answer is a success without an ETag, as no store gives it"}
	errNoUpload  = &strangeAnswer{"the answer is a success without an id of the upload, as no store gives it"}
	errNoBucket  = &strangeAnswer{"the answer is a list of no bucket, as no store gives it"}
	errNoRequest = &strangeAnswer{"the answer is a success without an id of the request, as no store gives it"}
	errNoObject  = &strangeAnswer{"the answer is a success, and the object is not there"}
	errOther     = &strangeAnswer{"the answer is a success with the checksum of something else"}
)

// confirm makes sure that an object is there whose PutObject was a success: the file
// is forgotten here on its word. Most stores say the checksum that they have computed;
// of others the object is looked at. One that takes an object, says its ETag, and lets
// nobody look is believed.
func (t *Target) confirm(ctx context.Context, o *object, sum [sha256.Size]byte, said *s3.PutObjectOutput) error {
	switch {
	case aws.ToString(said.ETag) == "":
		return errNoETag
	case said.ChecksumSHA256 == nil:
	case *said.ChecksumSHA256 == *hash(sum):
		return nil
	default:
		return errOther
	}
	return t.look(ctx, o)
}

// confirmParts is confirm for an object that was made of parts. The checksum of one is
// that of its parts' checksums, and how many they are, which some stores leave out; a
// store that has read it all may say that of the whole. Without an ETag nobody is
// believed whom we cannot ask.
func (t *Target) confirmParts(ctx context.Context, f *bridge.File, o *object, s *sendingUpload, said *s3.CompleteMultipartUploadOutput) error {
	if aws.ToString(said.ETag) == "" {
		if t.made(ctx, o) {
			return nil
		}
		return errNoETag
	}
	checksum := aws.ToString(said.ChecksumSHA256)
	if checksum == "" {
		return t.look(ctx, o)
	}
	sums := sha256.New()
	for _, p := range s.parts {
		_, _ = sums.Write(p.Sum) // never fails
	}
	composite := *hash([sha256.Size]byte(sums.Sum(nil)))
	if checksum == composite || checksum == fmt.Sprintf("%s-%d", composite, len(s.parts)) || checksum == *hash(f.SHA256) {
		return nil
	}
	return errOther
}

// look makes sure of an object by looking at it, where the store lets us.
func (t *Target) look(ctx context.Context, o *object) error {
	whose, err := t.whose(ctx, o)
	if err == nil && (whose == nobody || whose == another) {
		return errNoObject
	}
	return err
}

// made reports whether the object of a file is there.
func (t *Target) made(ctx context.Context, o *object) bool {
	whose, err := t.whose(ctx, o)
	return err == nil && whose == itself && !o.spoilt
}

// answered reports whether the store has answered with one of the statuses.
func answered(err error, statuses ...int) bool {
	answer, ok := errors.AsType[*smithyhttp.ResponseError](err)
	return ok && slices.Contains(statuses, answer.HTTPStatusCode())
}
