package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/upstream"
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

// refusal makes the error of a CONNACK that says no. Codes that only say "not
// now" make a plain error: the network is to blame, or load.
func refusal(ca *packets.Connack, clientID string) error {
	reason := ca.Reason()
	if ca.Properties != nil && ca.Properties.ReasonString != "" {
		reason = ca.Properties.ReasonString
	}
	if reason == "" {
		reason = "no reason given"
	}
	remedy := ""
	switch ca.ReasonCode {
	case packets.ConnackServerUnavailable, packets.ConnackServerBusy, packets.ConnackQuotaExceeded, packets.ConnackConnectionRateExceeded:
		return fmt.Errorf("refused for now with 0x%02X: %s", ca.ReasonCode, reason)
	case packets.ConnackUnsupportedProtocolVersion, 0x01: // 0x01 is how MQTT 3.1.1 says it
		remedy = "the uplink speaks MQTT 5: use a broker, or a listener of it, that does"
	case packets.ConnackInvalidClientID:
		remedy = fmt.Sprintf("choose another client_id than %q", clientID)
	case packets.ConnackBadUsernameOrPassword:
		remedy = "correct username and password, here or at the broker"
	case packets.ConnackNotAuthorized:
		remedy = fmt.Sprintf("correct username, password or certificate, and let the broker's policy allow the client id %q to connect (iot:Connect on AWS)", clientID)
	case packets.ConnackBanned:
		remedy = "ask the broker's operator to lift the ban"
	case packets.ConnackBadAuthenticationMethod:
		remedy = "let the broker take user name and password, or a certificate"
	case packets.ConnackUseAnotherServer, packets.ConnackServerMoved:
		remedy = "change endpoint"
		if ca.Properties != nil && ca.Properties.ServerReference != "" {
			remedy += fmt.Sprintf("; the broker names %q", ca.Properties.ServerReference)
		}
	default:
		remedy = "see the broker's log"
	}
	return &RefusedError{Code: ca.ReasonCode, Reason: reason, Remedy: remedy}
}

// explain turns an error of dialling, of TLS or of waiting for the CONNACK into
// a [RefusedError] when a person must act, and leaves the others alone.
func explain(err error) error {
	if e, ok := errors.AsType[*upstream.ProxyError](err); ok && e.Remedy() != "" {
		return &RefusedError{Reason: e.Error(), Remedy: e.Remedy(), Err: err}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &RefusedError{Reason: "the broker's certificate is signed by an authority that we do not know", Remedy: "set tls.ca to its authority, or make sure that nobody is between us", Err: err}
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return &RefusedError{Reason: e.Error(), Remedy: "correct the endpoint's host, or set tls.server_name", Err: err}
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return &RefusedError{Reason: "the broker's certificate is not valid: " + e.Error(), Remedy: "check the clock of this machine and the broker's certificate", Err: err}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" { // how crypto/tls marks the other side's alert
		return &RefusedError{Reason: "the broker ended TLS: " + e.Err.Error(), Remedy: "check that tls.cert is one that the broker takes (on AWS: registered and ACTIVE), and tls.alpn", Err: err}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &RefusedError{Reason: "the broker does not speak TLS on this port", Remedy: "use mqtt://, or the port that speaks TLS", Err: err}
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return &RefusedError{Reason: err.Error(), Remedy: "put the file there, and let the gateway's user read it", Err: err}
	}
	return err
}

// signing explains why a login could not be signed. Nobody has refused anything:
// the credentials could not be had.
func signing(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("sign: %w", err)
	}
	return &RefusedError{
		Reason: "no AWS credentials to sign with: " + err.Error(),
		Remedy: "renew them, or give the gateway a profile, a role or keys (aws.profile, aws.access_key_id); it is tried again",
		Err:    err,
	}
}

// closedEarly explains a connection that ended between CONNECT and CONNACK.
// With TLS that is how brokers refuse a certificate: by TLS 1.3 the handshake is
// over before the client's is looked at, and AWS closes without a word when it
// is not registered or not active (B12), or was registered just now (B13).
// Without TLS it is as likely to be the network.
func closedEarly(err error, secure bool) error {
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	switch {
	case !closed:
		return explain(err)
	case !secure:
		return fmt.Errorf("the broker closed the connection instead of answering: %w", err)
	}
	return &RefusedError{
		Reason: "the broker closed the connection instead of answering",
		Remedy: "check that tls.cert is set and one that it takes (on AWS: registered, ACTIVE, with a policy that allows this client id to connect)",
		Err:    err,
	}
}
