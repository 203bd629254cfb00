package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// refusal is what a code of the store's means: whose it is, and what a person can
// do.
type refusal struct {
	kind   bridge.Kind
	remedy string
}

const (
	remedyKey     = "correct access_key_id and secret_access_key of file_transfer.export.s3, or AWS's own credentials on this machine"
	remedyRight   = "allow this identity s3:PutObject and s3:AbortMultipartUpload on the bucket's objects, and with sse: aws:kms kms:GenerateDataKey and kms:Decrypt"
	remedyRegion  = "correct file_transfer.export.s3.region, or endpoint"
	remedyStrange = "look what answers there: correct file_transfer.export.s3.endpoint, and its port, or the proxy; and take a login page out of the way"
	remedyStorage = "correct storage_class, acl or sse of file_transfer.export.s3"
)

// refusals are the codes that we know. A code that is not there says nothing of
// whose it is.
var refusals = map[string]refusal{
	"AccessDenied":                      {bridge.NotAuthorized, remedyRight},
	"InvalidAccessKeyId":                {bridge.NotAuthorized, remedyKey},
	"XAdminUserNotFound":                {bridge.NotAuthorized, remedyKey}, // versitygw's
	"SignatureDoesNotMatch":             {bridge.NotAuthorized, remedyKey},
	"ExpiredToken":                      {bridge.NotAuthorized, "renew the session token, or use a role that renews it"},
	"ExpiredTokenException":             {bridge.NotAuthorized, "renew the session token, or use a role that renews it"},
	"InvalidToken":                      {bridge.NotAuthorized, remedyKey},
	"AllAccessDisabled":                 {bridge.NotAuthorized, "ask the bucket's owner"},
	"AccountProblem":                    {bridge.NotAuthorized, "look into the account's billing at the store"},
	"NotSignedUp":                       {bridge.NotAuthorized, "sign the account up for S3"},
	"RequestTimeTooSkewed":              {bridge.Unavailable, "set this machine's clock"},
	"NoSuchBucket":                      {bridge.Unavailable, "create the bucket, or correct file_transfer.export.s3.bucket"},
	"InvalidBucketName":                 {bridge.Unavailable, "correct file_transfer.export.s3.bucket"},
	"PermanentRedirect":                 {bridge.Unavailable, remedyRegion},
	"TemporaryRedirect":                 {bridge.Unavailable, "wait: the bucket is new, and its name is still on its way"},
	"AuthorizationHeaderMalformed":      {bridge.Unavailable, remedyRegion},
	"IllegalLocationConstraint":         {bridge.Unavailable, remedyRegion},
	"InvalidStorageClass":               {bridge.Unavailable, remedyStorage},
	"AccessControlListNotSupported":     {bridge.Unavailable, "write acl: none: the bucket has ACLs disabled"},
	"InvalidEncryptionAlgorithmError":   {bridge.Unavailable, remedyStorage},
	"ServerSideEncryptionConfiguration": {bridge.Unavailable, remedyStorage},
	"KMS.NotFoundException":             {bridge.Unavailable, "correct file_transfer.export.s3.sse_key"},
	"KMS.DisabledException":             {bridge.Unavailable, "enable the key of sse_key"},
	"KMS.AccessDeniedException":         {bridge.NotAuthorized, remedyRight},
	"NotImplemented":                    {bridge.Unavailable, "take storage_class, acl and sse out of file_transfer.export.s3: this store does not know one of them"},
	"ConditionalRequestConflict":        {bridge.Unavailable, ""}, // others were at the same key in that moment
	"SlowDown":                          {bridge.Unavailable, ""},
	"ServiceUnavailable":                {bridge.Unavailable, ""},
	"RequestTimeout":                    {bridge.Unavailable, ""},
	"QuotaExceeded":                     {bridge.Full, "make room in the bucket, or raise its quota"},
	"XMinioStorageFull":                 {bridge.Full, "make room on the store's disks"},
	"EntityTooLarge":                    {bridge.TooLarge, "this store takes smaller objects only"},
	"KeyTooLongError":                   {bridge.TopicInvalid, "shorten file_transfer.export.s3.key, or have the device use shorter ids"},
	"MetadataTooLarge":                  {bridge.PayloadInvalid, "have the device send less user_data"},
}

// explain makes an error of the SDK one of ours, about what was tried.
func (t *Target) explain(what string, err error) error {
	if _, explained := errors.AsType[*bridge.Error](err); err == nil || explained {
		return err
	}
	kind, remedy := bridge.Internal, ""
	_, silent := errors.AsType[net.Error](err)
	_, unsigned := errors.AsType[*noCredentials](err)
	refused, needsPerson := errors.AsType[*upstream.RefusedError](upstream.Explain(err))
	api, isAPI := errors.AsType[smithy.APIError](err)
	_, strange := errors.AsType[*strangeAnswer](err)
	sent := unsent(err)
	answer, isAnswer := errors.AsType[*smithyhttp.ResponseError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	case strange:
		kind, remedy = bridge.Unavailable, remedyStrange
	case unsigned:
		kind, remedy = bridge.NotAuthorized, "give the gateway a profile, a role, or access_key_id and secret_access_key in file_transfer.export.s3"
	case isAPI && refusals[api.ErrorCode()].kind != bridge.Internal:
		r := refusals[api.ErrorCode()]
		kind, remedy = r.kind, r.remedy
		err = errors.New(codeAndText(api))
	case isAnswer && isAPI:
		kind, remedy = ofStatus(answer.HTTPStatusCode())
		err = fmt.Errorf("status %d, %s", answer.HTTPStatusCode(), codeAndText(api))
	case isAnswer && answer.HTTPStatusCode() != 0:
		kind, remedy = ofStatus(answer.HTTPStatusCode())
		err = fmt.Errorf("status %d: %w", answer.HTTPStatusCode(), answer.Err)
	case needsPerson:
		kind, err = bridge.Unavailable, refused
	case sent != nil:
		kind, err = bridge.Unavailable, sent
	case silent || isAnswer:
		kind = bridge.Unavailable
	}
	if remedy != "" {
		remedy = "; " + remedy
	}
	return &bridge.Error{Op: bridge.OpExport, Kind: kind, Err: &failure{fmt.Sprintf("%s in bucket %s%s: %v%s", what, t.o.Bucket, t.at(), err, remedy), err}}
}

// unsent is why a request was not answered, nil when it was; without the SDK's
// words around it.
func unsent(err error) error {
	e, ok := errors.AsType[*smithyhttp.RequestSendError](err)
	if !ok {
		return nil
	}
	if u, ok := errors.AsType[*url.Error](e.Err); ok {
		return u.Err
	}
	return e.Err
}

// failure is a text with its cause.
type failure struct {
	text string
	err  error
}

// Error is the text.
func (f *failure) Error() string { return f.text }

// Unwrap is the cause.
func (f *failure) Unwrap() error { return f.err }

// at names the store, when it is not Amazon's.
func (t *Target) at() string {
	if t.o.Endpoint == "" {
		return ""
	}
	return " at " + t.o.Endpoint
}

func codeAndText(e smithy.APIError) string {
	if e.ErrorMessage() == "" {
		return e.ErrorCode()
	}
	return e.ErrorCode() + ": " + e.ErrorMessage()
}

// ofStatus is whose an answer is that has no code that we know. A 500 may be of
// one file's; others fare better, perhaps.
func ofStatus(status int) (bridge.Kind, string) {
	switch status {
	case http.StatusForbidden, http.StatusUnauthorized:
		return bridge.NotAuthorized, remedyKey + "; or " + remedyRight
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect:
		return bridge.Unavailable, remedyRegion
	case http.StatusInsufficientStorage:
		return bridge.Full, "make room at the store"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return bridge.Unavailable, ""
	}
	return bridge.Internal, ""
}

// is reports whether the store answered with one of the codes.
func is(err error, codes ...string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode() == c {
			return true
		}
	}
	return false
}
