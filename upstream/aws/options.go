package aws

import (
	"github.com/ebbgate/ebbgate/bridge"
)

// Options say who signs, and for which region.
type Options struct {
	Sign            string        `koanf:"sign" enum:"auto,always,never" doc:"Log in by a signature with AWS credentials (SigV4), over WebSocket and HTTPS: auto does so on AWS's own hosts where nothing else is the login, always also on custom domains."`
	Region          string        `koanf:"region" doc:"Region to sign for; empty: as the endpoint's host says."`
	Profile         string        `koanf:"profile" doc:"Profile of AWS's configuration files to take credentials from; empty: AWS_PROFILE, then default."`
	AccessKeyID     string        `koanf:"access_key_id" doc:"Access key, in place of what AWS's chain finds: environment, profile, single sign-on, web identity, container, instance."`
	SecretAccessKey bridge.Secret `koanf:"secret_access_key" doc:"Secret of the access key, as ${ENV} or file: reference."`
	SessionToken    bridge.Secret `koanf:"session_token" doc:"Session token of a temporary access key, as ${ENV} or file: reference."`
}

// The values of Options.Sign.
const (
	SignAuto   = "auto"
	SignAlways = "always"
	SignNever  = "never"
)

// DefaultOptions sign where AWS asks for it.
func DefaultOptions() Options { return Options{Sign: SignAuto} }

// Validate lists everything that is wrong with the options.
func (o Options) Validate() []bridge.Problem {
	var out []bridge.Problem
	add := func(path, text, remedy string) {
		out = append(out, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	switch {
	case o.AccessKeyID != "" && o.SecretAccessKey == "":
		add("secret_access_key", "an access key is given without its secret", "set it, or remove access_key_id")
	case o.AccessKeyID == "" && o.SecretAccessKey != "":
		add("access_key_id", "a secret is given without its access key", "set it, or remove secret_access_key")
	case o.AccessKeyID == "" && o.SessionToken != "":
		add("access_key_id", "a session token is given without its access key", "set access_key_id and secret_access_key, or remove session_token")
	case o.AccessKeyID != "" && o.Profile != "":
		add("profile", "a profile and an access key are given", "choose one")
	}
	return out
}
