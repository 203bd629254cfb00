package localbroker

// typeHTTPS is the value of ListenerOptions.Type for AWS IoT Core's data plane
// over HTTPS: package rest reads the requests, http*.go carries them out.
const typeHTTPS = "https"

// HTTPOptions are what a listener of type https does where AWS's pages and AWS
// disagree.
type HTTPOptions struct {
	Answer string `koanf:"answer" enum:"json,empty" doc:"Body of the 200 of a publish: json says OK with a trace id, as AWS IoT Core has been seen to answer; empty is what its API page says (B198). AWS meters a body."`
	Denied string `koanf:"denied" enum:"documented,forbidden" doc:"Status of what the policy denies: documented is 401 for publishes and retained messages and 403 for the rest (B201), forbidden is 403 for all, as AWS IoT Core has been seen to answer."`
}

// The values of HTTPOptions.
const (
	answerJSON       = "json"
	answerEmpty      = "empty"
	deniedDocumented = "documented"
	deniedForbidden  = "forbidden"
)

func (o HTTPOptions) withDefaults() HTTPOptions {
	orDefault(&o.Answer, answerJSON)
	orDefault(&o.Denied, deniedDocumented)
	return o
}

func (o HTTPOptions) validate(at string, ps *problems) {
	ps.oneOf(at+"answer", o.Answer, answerJSON, answerEmpty)
	ps.oneOf(at+"denied", o.Denied, deniedDocumented, deniedForbidden)
}
