package aws

import (
	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
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
	return upstream.ValidateLogin(o.Profile, o.AccessKeyID, string(o.SecretAccessKey), string(o.SessionToken))
}
