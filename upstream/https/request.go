package https

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// publish is one message as a request.
type publish struct {
	topic  string
	target string // path and query
	header http.Header
	body   []byte
}

// publishOf writes a message as AWS's API reads it (B198-B200).
func publishOf(m *bridge.Message, remaining uint32) (publish, error) {
	q := url.Values{}
	q.Set("qos", strconv.Itoa(int(min(m.QoS, 1))))
	if m.Retain {
		q.Set("retain", "true")
	}
	if m.HasExpiry {
		q.Set("messageExpiry", strconv.FormatUint(uint64(max(remaining, 1)), 10)) // B97
	}
	if m.ContentType != "" {
		q.Set("contentType", m.ContentType)
	}
	if m.ResponseTopic != "" {
		q.Set("responseTopic", m.ResponseTopic)
	}
	h := http.Header{}
	if m.PayloadFormat == 1 {
		h.Set("x-amz-mqtt5-payload-format-indicator", "UTF8_DATA")
	}
	if len(m.CorrelationData) > 0 {
		h.Set("x-amz-mqtt5-correlation-data", base64.StdEncoding.EncodeToString(m.CorrelationData))
	}
	if len(m.User) > 0 {
		text, err := userProperties(m.User)
		if err != nil {
			return publish{}, err
		}
		h.Set("x-amz-mqtt5-user-properties", base64.StdEncoding.EncodeToString(text))
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("User-Agent", "ebbgate")
	return publish{topic: m.Topic, target: "/topics/" + url.PathEscape(m.Topic) + "?" + q.Encode(), header: h, body: m.Payload}, nil
}

// userProperties keeps the order and names that repeat: an array of objects with
// one name each.
func userProperties(user []bridge.UserProperty) ([]byte, error) {
	list := make([]map[string]string, 0, len(user))
	for _, u := range user {
		list = append(list, map[string]string{u.Key: u.Value})
	}
	return json.Marshal(list)
}

// request is the request for one attempt.
func (p publish) request(ctx context.Context, base string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+p.target, bytes.NewReader(p.body))
	if err != nil {
		return nil, err
	}
	r.Header = p.header.Clone()
	return r, nil
}

// requestSize and responseSize are what HTTP/1.1 writes: lines, headers, body.
func requestSize(r *http.Request) int {
	n := len(r.Method) + len(r.URL.RequestURI()) + len(" HTTP/1.1\r\n") + 1 + len("\r\n") + int(r.ContentLength)
	n += len("Host: \r\n") + len(r.URL.Host) + len("Content-Length: \r\n") + len(strconv.FormatInt(r.ContentLength, 10))
	return n + headerSize(r.Header)
}

func responseSize(res *http.Response, body int) int {
	return len(res.Proto) + 1 + len(res.Status) + len("\r\n\r\n") + headerSize(res.Header) + body
}

func headerSize(h http.Header) (n int) {
	for k, values := range h {
		for _, v := range values {
			n += len(k) + len(v) + len(": \r\n")
		}
	}
	return n
}

// answerSize bounds what is read of an answer.
const answerSize = 64 << 10

// answer is what a server said to one request.
type answer struct {
	status int
	kind   string // x-amzn-errortype, without its origin
	text   string // what it says, for people
	size   int    // bytes on the wire
	body   int    // of these in the body, which AWS meters (M18)
}

func read(res *http.Response) (answer, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, answerSize))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: res.StatusCode, size: responseSize(res, len(body)), body: len(body)}
	a.kind, _, _ = strings.Cut(res.Header.Get("x-amzn-ErrorType"), ":")
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil { // else it is no JSON, and says nothing that is known
		a.text = said.Message
	}
	return a, nil
}

// String is the answer in words.
func (a answer) String() string {
	words := fmt.Sprintf("HTTP %d %s", a.status, http.StatusText(a.status))
	if a.text != "" {
		words += fmt.Sprintf(": %.200q", a.text)
	}
	return words
}

// login reports whether a refusal is about who we are and not about what may be
// done: then it is not the message that was refused.
func (a answer) login() bool {
	if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		return false
	}
	switch a.kind {
	case "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException",
		"SignatureDoesNotMatch", "MissingAuthenticationTokenException", "MissingAuthenticationToken", "IncompleteSignature", "IncompleteSignatureException", "RequestExpired":
		return true
	}
	text := strings.ToLower(a.text)
	return strings.Contains(text, "security token") || strings.Contains(text, "signature")
}

// anyOf is what a refusal without more words may be about: AWS says the same of all.
const anyOf = " (the policy of what we log in with, its key or certificate, the region, or the clock of this machine)"

// outcome is what an answer means for the message; ok is false when it says
// that this is no server for messages, or no login.
func (a answer) outcome(wire int) (o bridge.Outcome, ok bool) {
	o = bridge.Outcome{Reason: a.String(), Wire: wire, HTTP: true, Body: a.body}
	switch {
	case a.status == http.StatusOK:
		o.Result, o.Reason = bridge.ResultAcked, ""
	case a.status == http.StatusBadRequest, a.status == http.StatusRequestEntityTooLarge:
		o.Result = bridge.ResultRefused
	case a.login():
		return o, false
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		o.Result = bridge.ResultDenied
		if o.Reason += anyOf; a.kind != "" {
			o.Reason = a.kind + ", " + o.Reason
		}
	case a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout, a.status >= 500:
		o.Result = bridge.ResultRetry
	default:
		return o, false
	}
	return o, true
}
