package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ebbgate/ebbgate/bridge"
)

// No object is ever replaced by another file: two gateways with one bucket and one key
// may have devices with equal ids, and what is at the store is nowhere else any more. So
// an object is made on the condition that there is none (If-None-Match: *). Amazon keeps
// that; of other stores some refuse the condition, and some ignore it without a word, so
// they are looked at before as well. Between that look and the object another gateway may
// be faster, at those stores only.

// holder is what a key of the bucket has.
type holder int

const (
	nobody  holder = iota
	itself         // the file, put by an attempt whose answer was lost
	another        // something else
	hidden         // one or the other: nobody may look
	spoilt         // what the store has made of the file, and is not the file: see spoiltObject
)

// errTaken is that another object has the key.
var errTaken = errors.New("another object is called so")

// whose finds out what the key of an object has.
func (t *Target) whose(ctx context.Context, o *object) (holder, error) {
	out, err := t.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &t.o.Bucket, Key: &o.key})
	switch {
	case answered(err, http.StatusNotFound):
		return nobody, nil
	case answered(err, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented):
		return hidden, nil
	case err != nil:
		return nobody, err
	case aws.ToString(out.ETag) == "":
		return nobody, errNoETag
	}
	if _, ofStore := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata); !ofStore && len(out.Metadata) == 0 {
		return nobody, errNoRequest
	}
	if aws.ToInt64(out.ContentLength) != o.size {
		return another, nil
	}
	for _, name := range []string{metaSum, metaClient, metaFile} { // on the way a header loses blanks at its ends
		if strings.TrimSpace(out.Metadata[name]) != strings.TrimSpace(o.meta[name]) {
			return another, nil
		}
	}
	return itself, nil
}

// vacant makes sure, before anything is sent, that no other object has the key, as far as
// we may look, and says what has it.
func (t *Target) vacant(ctx context.Context, o *object) (whose holder, err error) {
	whose, err = t.whose(ctx, o)
	answer, isAnswer := errors.AsType[*smithyhttp.ResponseError](err)
	switch {
	case isAnswer && answer.HTTPStatusCode() < http.StatusInternalServerError && answer.HTTPStatusCode() != http.StatusTooManyRequests:
		return hidden, nil // such an answer has no words; what is sent next is refused with them
	case err != nil:
		return nobody, t.explain("it cannot be found out whether "+o.key+" is there", err)
	case whose == another:
		return another, t.taken(o)
	case whose == itself && o.spoilt:
		return spoilt, nil
	}
	return whose, nil
}

// looksFirst reports whether the store may replace an object whatever we ask for.
func (t *Target) looksFirst() bool { return t.o.Endpoint != "" || t.unconditional.Load() }

// makeNew makes an object by ask, which is to send the condition, and reports whether it
// did: false without an error is that the file was there. Of a store that does not know
// the condition it is asked again, without.
func (t *Target) makeNew(ctx context.Context, o *object, ask func(condition *string) error) (made bool, err error) {
	condition := aws.String("*")
	looked := t.looksFirst() || o.spoilt
	if looked {
		whose, err := t.vacant(ctx, o)
		if err != nil || whose == itself {
			return false, err
		}
		if whose == spoilt || t.unconditional.Load() {
			condition = nil
		}
	}
	err = ask(condition)
	if condition != nil && (answered(err, http.StatusNotImplemented) || is(err, "NotImplemented")) {
		if !looked {
			if whose, err := t.vacant(ctx, o); err != nil || whose == itself {
				return false, err
			}
		}
		if err = ask(nil); err == nil && !t.unconditional.Swap(true) {
			t.log.Warn("the store does not know If-None-Match: before an object is made it is looked whether there is one, and what another gateway puts there in that moment is replaced", "bucket", t.o.Bucket, "endpoint", t.o.Endpoint)
		}
	}
	if answered(err, http.StatusPreconditionFailed) || is(err, "PreconditionFailed") { // which may follow a status of 200
		return false, t.met(ctx, o)
	}
	return err == nil, err
}

// met is that the store has an object under the key and makes no other: nil when it is
// the file.
func (t *Target) met(ctx context.Context, o *object) error {
	switch whose, err := t.whose(ctx, o); {
	case err != nil:
		return t.explain("it cannot be found out whose "+o.key+" is", err)
	case whose == itself:
		return nil
	case whose == nobody: // it is gone in the meantime; another attempt will tell
		return bridge.Errorf(bridge.OpExport, bridge.Internal, "%s cannot be put into bucket %s%s: the store says that an object is there, and that there is none", o.key, t.o.Bucket, t.at())
	case whose == hidden:
		return bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "%w: bucket %s%s has %s already, and nothing is replaced; it is this file or another, and nobody lets us look: allow this identity s3:GetObject on the bucket's objects, then ebbgate files retry",
			errTaken, t.o.Bucket, t.at(), o.key)
	}
	return t.taken(o)
}

// taken is that another object has the key, with what a person can do.
func (t *Target) taken(o *object) error {
	remedy := "move that object away, then ebbgate files retry"
	if !t.o.OwnKeys() {
		remedy = "when another gateway has this bucket too, begin file_transfer.export.s3.key with a level of this one's own, such as site-7/, and start it anew; else " + remedy
	}
	return bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "%w: bucket %s%s has %s already, with another content, and nothing is replaced; %s", errTaken, t.o.Bucket, t.at(), o.key, remedy)
}
