package localbroker

import "sync/atomic"

// authError is a kind of refusal by the policy, as AWS IoT Core counts it.
type authError byte

const (
	authConnect authError = iota
	authPublishIn
	authPublishOut
	authPublishRetained
	authSubscribe
	authErrorKinds
)

// authErrorNames are the names of AWS's CloudWatch metrics.
var authErrorNames = [authErrorKinds]string{
	"Connect.AuthError", "PublishIn.AuthError", "PublishOut.AuthError", "PublishRetained.AuthError", "Subscribe.AuthError",
}

// authErrors counts refusals.
type authErrors [authErrorKinds]atomic.Int64

func (e *authErrors) count(k authError) { e[k].Add(1) }

// byName is the counts by the names of AWS's metrics, zeros included.
func (e *authErrors) byName() map[string]int64 {
	out := make(map[string]int64, authErrorKinds)
	for k := range e {
		out[authErrorNames[k]] = e[k].Load()
	}
	return out
}
