package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// RefusedError says that the broker, or TLS, does not let us in: something has
// to be set right here or there. It is retried all the same, since it may be
// set right there.
type RefusedError struct {
	Code   byte   // CONNACK reason code; 0 when the refusal came from TLS, or as a close
	Reason string // what the broker said, or what failed
	Remedy string // what a person can do
	Err    error  // cause, or nil
}

// Error is the reason with its code, then the remedy.
func (e *RefusedError) Error() string {
	s := e.Reason
	if e.Code != 0 {
		s = fmt.Sprintf("refused with 0x%02X: %s", e.Code, e.Reason)
	}
	return s + "; " + e.Remedy
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// Explain turns an error of dialling, of TLS or of waiting for the CONNACK into
// a [RefusedError] when a person must act, and leaves the others alone.
func Explain(err error) error {
	if e, ok := errors.AsType[*ProxyError](err); ok && e.Remedy() != "" {
		return &RefusedError{Reason: e.Error(), Remedy: e.Remedy(), Err: err}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &RefusedError{Reason: "the server's certificate is signed by an authority that we do not know", Remedy: "set tls.ca to its authority, or make sure that nobody is between us", Err: err}
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return &RefusedError{Reason: e.Error(), Remedy: "correct the endpoint's host, or set tls.server_name", Err: err}
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return &RefusedError{Reason: "the server's certificate is not valid: " + e.Error(), Remedy: "check the clock of this machine and the server's certificate", Err: err}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" { // how crypto/tls marks the other side's alert
		return &RefusedError{Reason: "the server ended TLS: " + e.Err.Error(), Remedy: "check that tls.cert is one that the server takes (on AWS: registered and ACTIVE), and tls.alpn", Err: err}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &RefusedError{Reason: "the server does not speak TLS on this port", Remedy: "use mqtt://, or the port that speaks TLS", Err: err}
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return &RefusedError{Reason: err.Error(), Remedy: "put the file there, and let the gateway's user read it", Err: err}
	}
	return err
}

// NoCredentials explains why a login could not be signed. Nobody has refused anything:
// the credentials could not be had.
func NoCredentials(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("sign: %w", err)
	}
	return &RefusedError{
		Reason: "no AWS credentials to sign with: " + err.Error(),
		Remedy: "renew them, or give the gateway a profile, a role or keys (aws.profile, aws.access_key_id); it is tried again",
		Err:    err,
	}
}
