package localbroker

import (
	"encoding/binary"
	"encoding/json"
	"time"
)

// rejection is an answer that the gateway gives in a service's stead, in the
// words that the service has for it.
type rejection struct {
	reason string // drop log
	code   int    // HTTP's, as shadows and provisioning use it
	word   string // of provisioning
	job    string // of jobs, whose words are a closed list
	text   string
}

var (
	unavailable = rejection{"pass-through-offline", 503, "ServiceUnavailableException", "InternalError", "Service unavailable: the gateway has no connection to the cloud"}
	unanswered  = rejection{"pass-through-unanswered", 503, "ServiceUnavailableException", "InternalError", "Service unavailable: the cloud did not answer in time"}
	badToken    = rejection{"pass-through-token", 400, "InvalidRequestException", "InvalidRequest", "Invalid clientToken"}
	tooMany     = rejection{"pass-through-busy", 429, "ThrottlingException", "RequestThrottled", "Too many requests: others await their answers"}
)

// payload writes the answer to one request.
func (why rejection) payload(r *openRequest, now time.Time) []byte {
	switch {
	case r.topic.cbor:
		return why.cbor()
	case r.topic.service == serviceProvisioning:
		return marshal(struct {
			Status int    `json:"statusCode"`
			Code   string `json:"errorCode"`
			Text   string `json:"errorMessage"`
		}{why.code, why.word, why.text})
	case r.topic.service == serviceJobs:
		return marshal(struct {
			Code  string `json:"code"`
			Text  string `json:"message"`
			Token string `json:"clientToken,omitempty"`
			Time  int64  `json:"timestamp"`
		}{why.job, why.text, r.token, now.Unix()})
	default:
		return marshal(struct {
			Code  int    `json:"code"`
			Text  string `json:"message"`
			Time  int64  `json:"timestamp"`
			Token string `json:"clientToken,omitempty"`
		}{why.code, why.text, now.Unix(), r.token})
	}
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // numbers and strings
		panic("localbroker: rejection: " + err.Error())
	}
	return b
}

// cbor is the answer of provisioning to who asked in CBOR (RFC 8949): a map of
// three text keys. A library for these few bytes would be one more to keep.
func (why rejection) cbor() []byte {
	out := []byte{0xA3} // map of 3
	out = cborText(out, "statusCode")
	out = binary.BigEndian.AppendUint16(append(out, 0x19), uint16(why.code)) // unsigned, two bytes
	out = cborText(cborText(out, "errorCode"), why.word)
	return cborText(cborText(out, "errorMessage"), why.text)
}

// cborText appends a text of at most 255 bytes.
func cborText(out []byte, s string) []byte {
	if len(s) < 24 {
		out = append(out, 0x60|byte(len(s)))
	} else {
		out = append(out, 0x78, byte(len(s)))
	}
	return append(out, s...)
}
