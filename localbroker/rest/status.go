package rest

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/ebbgate/ebbgate/bridge"
)

// Refusal is an answer other than 200.
type Refusal struct {
	Status int
	Text   string // for a person
}

// Error implements error.
func (r *Refusal) Error() string { return cmp.Or(r.Text, http.StatusText(r.Status)) }

// invalid is a request that cannot be understood.
func invalid(text string) *Refusal { return &Refusal{http.StatusBadRequest, text} }

// exceptions are AWS's names of the errors, which its SDKs read from the header
// x-amzn-ErrorType.
var exceptions = map[int]string{
	http.StatusBadRequest:            "InvalidRequestException",
	http.StatusUnauthorized:          "UnauthorizedException",
	http.StatusForbidden:             "ForbiddenException",
	http.StatusNotFound:              "ResourceNotFoundException",
	http.StatusMethodNotAllowed:      "MethodNotAllowedException",
	http.StatusRequestEntityTooLarge: "RequestEntityTooLargeException",
	http.StatusTooManyRequests:       "ThrottlingException",
	http.StatusInternalServerError:   "InternalFailureException",
	http.StatusServiceUnavailable:    "ServiceUnavailableException",
	http.StatusGatewayTimeout:        "GatewayTimeoutException",
}

// refusal is the table of answers: what a caller sees for an error, by the
// operation. It is pure. What it does not know is a 500, which SDKs try again.
func refusal(err error, op *operation, o Options) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	status := http.StatusInternalServerError
	switch bridge.KindOf(err) {
	case bridge.NotAuthorized:
		status = http.StatusForbidden
		if op != nil && op.unauthorized && !o.Forbidden {
			status = http.StatusUnauthorized
		}
	case bridge.TopicInvalid, bridge.PayloadInvalid:
		status = http.StatusBadRequest
	case bridge.TooLarge:
		status = http.StatusRequestEntityTooLarge
	case bridge.Full, bridge.Unavailable:
		status = http.StatusServiceUnavailable
	}
	return &Refusal{status, err.Error()}
}

// text is what the answer's message says.
func (r *Refusal) text(o Options) string {
	if o.Terse && r.Status != http.StatusBadRequest && r.Status != http.StatusNotFound {
		return http.StatusText(r.Status)
	}
	return r.Error()
}

// retryAfter is the value of Retry-After for answers that want one.
func (r *Refusal) retryAfter() string {
	switch r.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return "1"
	default:
		return ""
	}
}
