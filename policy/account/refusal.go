package account

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// guide is where the whole IAM policy stands.
const guide = "docs/how-to/bring-your-own-policies.md"

// Codes of AWS's services that mean the same whatever the call. The first are
// about what the credentials may do, the second about the credentials.
var (
	denials     = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedException", "NotAuthorized", "ForbiddenException", "Forbidden"}
	credentials = []string{"ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException"}
	unknown     = []string{"UnknownOperationException", "UnknownOperation", "InvalidAction"}
)

// RefusedError says that AWS refuses a call for want of a permission, or for
// the credentials themselves.
type RefusedError struct {
	Action string // the IAM action that is needed, "iot:ListPolicies"
	Text   string // one line, with the remedy
}

// Error is one line.
func (e *RefusedError) Error() string { return e.Text }

// explained turns an error of the SDK into one line that names the call and
// what to do. A cancelled context stays what it is.
func explained(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, errNoV2) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	action := "iot"
	if op, ok := errors.AsType[*smithy.OperationError](err); ok {
		action = "iot:" + op.OperationName
	}
	code, message := "", oneLine(err)
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code, message = api.ErrorCode(), oneLine(errors.New(api.ErrorMessage()))
	}
	status := 0
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = r.HTTPStatusCode()
	}
	_, unreachable := errors.AsType[net.Error](err)
	if asked, ok := errors.AsType[*url.Error](err); ok { // without the layers around it
		message = oneLine(asked.Err)
	}
	switch {
	case slices.Contains(credentials, code):
		return &RefusedError{action, fmt.Sprintf("AWS does not take the credentials (%s: %s); log in again (aws sso login), or set the clock if it is wrong", code, message)}
	case slices.Contains(denials, code), status == http.StatusForbidden, status == http.StatusUnauthorized:
		return &RefusedError{action, fmt.Sprintf("AWS denies %s to these credentials (%s); allow %s in their IAM policy, %s has the whole of it", action, message, action, guide)}
	case throttled(code):
		return fmt.Errorf("%s is throttled still after %d attempts (%s); come back later, or add --parallel 1", action, attempts, message)
	case code == "" && unreachable:
		return fmt.Errorf("%s: AWS cannot be reached: %s; check the region, --endpoint-url and the network", action, message)
	case code != "":
		return fmt.Errorf("%s: AWS answers %s: %s", action, code, message)
	}
	return fmt.Errorf("%s: %s", action, message)
}

func throttled(code string) bool {
	_, ok := retry.DefaultThrottleErrorCodes[code]
	return ok
}

// gone reports whether the thing asked for is no longer there.
func gone(err error) bool {
	_, ok := errors.AsType[*types.ResourceNotFoundException](err)
	return ok
}

// notOffered reports whether the region does not know the call.
func notOffered(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(unknown, api.ErrorCode())
}

// oneLine keeps an error of somebody else's to one printable line.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == ' ' || r < ' ' || r == 0x7f }), " ")
}
