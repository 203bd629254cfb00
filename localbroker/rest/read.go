package rest

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// getRetained is GET /retainedMessage/{topic} (B160).
func (x *exchange) getRetained() (any, error) {
	m, err := x.caller.Retained(x.target)
	if err != nil {
		return nil, err
	}
	return struct {
		Topic    string  `json:"topic"`
		Payload  []byte  `json:"payload"` // JSON makes it base64
		QoS      byte    `json:"qos"`
		Modified int64   `json:"lastModifiedTime"`
		User     *string `json:"userProperties"`
	}{m.Topic, m.Payload, m.QoS, milliseconds(m.Modified), encodeUser(m.User)}, nil
}

// encodeUser is the reverse of userProperties, in base64; nil for none.
func encodeUser(user []bridge.UserProperty) *string {
	if len(user) == 0 {
		return nil
	}
	list := make([]map[string]string, len(user))
	for i, u := range user {
		list[i] = map[string]string{u.Key: u.Value}
	}
	text, _ := json.Marshal(list) // texts always can be
	out := base64.StdEncoding.EncodeToString(text)
	return &out
}

// milliseconds since 1970; 0 stays 0.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// How many results a page has.
const (
	pageMost              = 200
	pageOfRetained        = 200 // AWS's default is not published
	pageOfSubscriptions   = 20
	longestKey, tokenMark = 64 << 10, "1." // a token is this version, and the last key of the page before
)

// page is what a listing is asked for.
func (x *exchange) page(usual int) (after string, most int, err error) {
	if most, err = x.integer("maxResults", usual, 1, pageMost); err != nil {
		return "", 0, err
	}
	token, err := x.one("nextToken")
	if err != nil || token == "" {
		return "", most, err
	}
	key, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(key) < len(tokenMark) || len(key) > longestKey || string(key[:len(tokenMark)]) != tokenMark {
		return "", 0, invalid("nextToken is none that was given")
	}
	return string(key[len(tokenMark):]), most, nil
}

// nextToken leads to what comes after key; null when nothing does. It is the
// key and not a position, so that pages stay right while messages come and go.
func nextToken(key string, more bool) *string {
	if !more {
		return nil
	}
	out := base64.RawURLEncoding.EncodeToString([]byte(tokenMark + key))
	return &out
}

// listRetained is GET /retainedMessage (B161).
func (x *exchange) listRetained() (any, error) {
	after, most, err := x.page(pageOfRetained)
	if err != nil {
		return nil, err
	}
	list, more, err := x.caller.ListRetained(after, most)
	if err != nil {
		return nil, err
	}
	type summary struct {
		Topic    string `json:"topic"`
		Size     int    `json:"payloadSize"`
		QoS      byte   `json:"qos"`
		Modified int64  `json:"lastModifiedTime"`
	}
	topics, last := make([]summary, len(list)), ""
	for i, m := range list {
		topics[i], last = summary{m.Topic, m.Size, m.QoS, milliseconds(m.Modified)}, m.Topic
	}
	return struct {
		Topics []summary `json:"retainedTopics"`
		Next   *string   `json:"nextToken"`
	}{topics, nextToken(last, more)}, nil
}

// deleteConnection is DELETE /connections/{clientId} (B71).
func (x *exchange) deleteConnection() (any, error) {
	var o DeleteOptions
	var err error
	if o.Clean, err = x.boolean("cleanSession"); err != nil {
		return nil, err
	}
	if o.NoWill, err = x.boolean("preventWillMessage"); err != nil {
		return nil, err
	}
	return nil, x.caller.DeleteConnection(x.target, o)
}

// getConnection is GET /connections/{clientId} (Q47).
func (x *exchange) getConnection() (any, error) {
	sockets, err := x.boolean("includeSocketInformation")
	if err != nil {
		return nil, err
	}
	c, err := x.caller.Connection(x.target)
	if err != nil {
		return nil, err
	}
	if !sockets {
		c.SourceIP, c.SourcePort, c.TargetIP, c.TargetPort = "", 0, "", 0
	}
	return c, nil
}

// listSubscriptions is GET /connections/{clientId}/subscriptions (Q48).
func (x *exchange) listSubscriptions() (any, error) {
	after, most, err := x.page(pageOfSubscriptions)
	if err != nil {
		return nil, err
	}
	list, more, err := x.caller.Subscriptions(x.target, after, most)
	if err != nil {
		return nil, err
	}
	last := ""
	if len(list) > 0 {
		last = list[len(list)-1].Filter
	} else {
		list = []Subscription{}
	}
	return struct {
		Subscriptions []Subscription `json:"subscriptions"`
		Next          *string        `json:"nextToken"`
	}{list, nextToken(last, more)}, nil
}
