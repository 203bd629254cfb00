package rest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
)

// publish is POST /topics/{topic} (B198-B200).
func (x *exchange) publish() (any, error) {
	m, err := x.message()
	if err != nil {
		return nil, err
	}
	m.Topic = x.target
	qos, err := x.integer("qos", 0, 0, 1)
	if err != nil {
		return nil, err
	}
	m.QoS = byte(qos)
	if m.Retain, err = x.boolean("retain"); err != nil {
		return nil, err
	}
	if m.Expiry, m.HasExpiry, err = x.expiry(); err != nil {
		return nil, err
	}
	if m.Payload, err = x.body(); err != nil {
		return nil, err
	}
	if err := x.caller.Publish(m); err != nil {
		return nil, err
	}
	if x.opts.Empty {
		return nil, nil
	}
	return message{"OK", x.trace}, nil
}

// The time that a direct message waits for its acknowledgement, in seconds.
const (
	confirmDefault = 5
	confirmMost    = 15
)

// sendDirect is POST /connections/{clientId}/messages (B203).
func (x *exchange) sendDirect() (any, error) {
	m, err := x.message()
	if err != nil {
		return nil, err
	}
	if m.Topic, err = x.one("topic"); err != nil {
		return nil, err
	}
	confirmed, err := x.boolean("confirmation")
	if err != nil {
		return nil, err
	}
	wait := 0
	if confirmed { // else timeout is passed over, whatever it says
		m.QoS = 1
		if wait, err = x.integer("timeout", confirmDefault, 1, confirmMost); err != nil {
			return nil, err
		}
	}
	if m.Payload, err = x.body(); err != nil {
		return nil, err
	}
	if err := x.caller.Direct(x.r.Context(), x.target, m, time.Duration(wait)*time.Second); err != nil {
		return nil, err
	}
	return message{"OK", x.trace}, nil
}

// message takes the MQTT 5 properties of a request.
func (x *exchange) message() (*bridge.Message, error) {
	m := &bridge.Message{}
	var err error
	if m.ContentType, err = x.one("contentType"); err != nil {
		return nil, err
	}
	if m.ResponseTopic, err = x.one("responseTopic"); err != nil {
		return nil, err
	}
	if strings.ContainsAny(m.ResponseTopic, "+#") {
		return nil, invalid("responseTopic has a wildcard") // B101
	}
	header := func(name string) (string, error) {
		values := x.r.Header.Values(name)
		if len(values) > 1 {
			return "", invalid("the header " + name + " comes more than once")
		}
		return strings.Join(values, ""), nil
	}
	format, err := header("x-amz-mqtt5-payload-format-indicator")
	if err != nil {
		return nil, err
	}
	switch format {
	case "", "UNSPECIFIED_BYTES":
	case "UTF8_DATA":
		m.PayloadFormat = 1
	default:
		return nil, invalid("x-amz-mqtt5-payload-format-indicator is neither UNSPECIFIED_BYTES nor UTF8_DATA")
	}
	correlation, err := header("x-amz-mqtt5-correlation-data")
	if err != nil {
		return nil, err
	}
	if m.CorrelationData, err = base64.StdEncoding.DecodeString(correlation); err != nil {
		return nil, invalid("x-amz-mqtt5-correlation-data is not base64")
	}
	user, err := header("x-amz-mqtt5-user-properties")
	if err != nil || user == "" {
		return m, err
	}
	decoded, err := base64.StdEncoding.DecodeString(user)
	if err != nil {
		return nil, invalid("x-amz-mqtt5-user-properties is not base64")
	}
	if m.User, err = userProperties(decoded); err != nil {
		return nil, invalid("x-amz-mqtt5-user-properties: " + err.Error())
	}
	return m, nil
}

var errUserProperties = errors.New(`not a JSON array of objects with texts, such as [{"name": "value"}]`)

// userProperties reads [{"name": "value"}, …] in its order, repeated names
// included, which a map would lose.
func userProperties(text []byte) ([]bridge.UserProperty, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	next := func() json.Token {
		t, _ := dec.Token() // nil is no token that is looked for
		return t
	}
	if !utf8.Valid(text) || next() != json.Delim('[') {
		return nil, errUserProperties
	}
	var out []bridge.UserProperty
	for dec.More() {
		if next() != json.Delim('{') {
			return nil, errUserProperties
		}
		for dec.More() {
			name, isText := next().(string)
			value, isTextToo := next().(string)
			if !isText || !isTextToo || strings.ContainsRune(name+value, 0) {
				return nil, errUserProperties
			}
			out = append(out, bridge.UserProperty{Key: name, Value: value})
		}
		if next() != json.Delim('}') {
			return nil, errUserProperties
		}
	}
	if next() != json.Delim(']') {
		return nil, errUserProperties
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errUserProperties
	}
	return out, nil
}

// body reads the payload, no more than may be and no longer than it may take.
// One that is announced as too large is not read at all.
func (x *exchange) body() ([]byte, error) {
	large := &Refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the payload is larger than %d bytes", x.opts.Payload)}
	size := x.r.ContentLength
	if size > int64(x.opts.Payload) {
		return nil, large
	}
	if size < 0 { // chunked
		size = int64(x.opts.Payload)
	}
	within := x.opts.Patience + time.Duration(size)*time.Second/bodyRate
	x.deadline(within + x.opts.Write)                                           // a "100 Continue" goes out meanwhile
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(within)) // fails when the peer has gone: so does the read
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, int64(x.opts.Payload)))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, large
		}
		x.w.Header().Set("Connection", "close")
		return nil, &Refusal{http.StatusRequestTimeout, "the payload did not come in time, or not whole"}
	}
	return body, nil // the server lifts the deadline
}

// one is a parameter of the query, empty when it is not there.
func (x *exchange) one(name string) (string, error) {
	values := x.query[name]
	switch {
	case len(values) > 1:
		return "", invalid(name + " comes more than once")
	case len(values) == 0:
		return "", nil
	case !text(values[0]):
		return "", invalid(name + " is not valid UTF-8, or has a zero in it")
	}
	return values[0], nil
}

// boolean is false when it is not there.
func (x *exchange) boolean(name string) (bool, error) {
	value, err := x.one(name)
	switch {
	case err != nil:
		return false, err
	case value == "" || strings.EqualFold(value, "false"):
		return false, nil
	case strings.EqualFold(value, "true"):
		return true, nil
	}
	return false, invalid(name + " is neither true nor false")
}

func (x *exchange) integer(name string, missing, least, most int) (int, error) {
	value, err := x.one(name)
	if err != nil || value == "" {
		return missing, err
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, invalid(fmt.Sprintf("%s is not a number from %d to %d", name, least, most))
	}
	return n, nil
}

// expiry is messageExpiry: what is more than a packet can say is the most that
// it can (B98 clamps it further), 0 is 1 (B97).
func (x *exchange) expiry() (seconds uint32, given bool, err error) {
	value, err := x.one("messageExpiry")
	if err != nil || value == "" {
		return 0, false, err
	}
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return 0, false, invalid("messageExpiry is not a number of seconds")
	}
	return uint32(min(max(n, 1), math.MaxUint32)), true, nil
}
