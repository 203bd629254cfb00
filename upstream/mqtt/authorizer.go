package mqtt

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// AuthorizerOptions choose a custom authorizer of AWS IoT Core and are what it
// is given besides user name and password (B07). They travel in the user name,
// as its query string.
type AuthorizerOptions struct {
	Name      string        `koanf:"name" doc:"Name of the authorizer; empty: the one that AWS IoT Core has as its default."`
	TokenKey  string        `koanf:"token_key" doc:"Name under which the authorizer looks for the token, as it was registered; needed with token."`
	Token     bridge.Secret `koanf:"token" doc:"The token, as ${ENV} or file: reference; for authorizers with signing enabled."`
	Signature bridge.Secret `koanf:"signature" doc:"Signature of the token by the authorizer's key, base64, as ${ENV} or file: reference."`
}

// The parameters in the user name that are AWS's own.
const (
	paramAuthorizer = "x-amz-customauthorizer-name"
	paramSignature  = "x-amz-customauthorizer-signature"
)

// Used reports whether anything is given.
func (o AuthorizerOptions) Used() bool { return o != AuthorizerOptions{} }

// username is the user name for CONNECT. It is as secret as the token in it.
func (o AuthorizerOptions) username(user string) string {
	var params []string
	add := func(key, value string) {
		if value != "" {
			params = append(params, url.QueryEscape(key)+"="+url.QueryEscape(value))
		}
	}
	add(paramAuthorizer, o.Name)
	if o.Token != "" {
		add(o.TokenKey, string(o.Token))
	}
	add(paramSignature, string(o.Signature))
	if len(params) == 0 {
		return user
	}
	return user + "?" + strings.Join(params, "&")
}

// Header is what the authorizer is given over HTTPS (B198), nil when nothing is.
func (o AuthorizerOptions) Header() http.Header {
	if !o.Used() {
		return nil
	}
	h := http.Header{}
	for key, value := range map[string]string{paramAuthorizer: o.Name, o.TokenKey: string(o.Token), paramSignature: string(o.Signature)} {
		if value != "" {
			h.Set(key, value)
		}
	}
	return h
}

func (o AuthorizerOptions) validate(user string) []bridge.Problem {
	var out []bridge.Problem
	add := func(path, text, remedy string) {
		out = append(out, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	switch {
	case o.Token != "" && o.TokenKey == "":
		add("token_key", "a token is given without the name under which it is sent", "set it to the token key name of the authorizer")
	case o.Token == "" && (o.TokenKey != "" || o.Signature != ""):
		add("token", "what belongs to a token is given, and no token", "set it, or remove token_key and signature")
	case o.Token != "" && o.Signature == "":
		add("signature", "AWS IoT Core takes no token without its signature", "sign the token with the authorizer's key, and give the signature in base64")
	case o.TokenKey == paramAuthorizer || o.TokenKey == paramSignature:
		add("token_key", "is a name that AWS uses itself", "set it to the token key name of the authorizer")
	}
	if o.Used() && strings.Contains(user, "?") {
		add("name", "the user name has a query string of its own", "give the authorizer here or there, not in both")
	}
	return out
}
