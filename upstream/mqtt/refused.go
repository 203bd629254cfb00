package mqtt

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/upstream"
)

// RefusedError says that the broker, or TLS, does not let us in.
type RefusedError = upstream.RefusedError

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
		remedy = "set protocol to 3.1.1 or auto, or use a broker, or a listener of it, that speaks MQTT 5"
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

// closedEarly explains a connection that ended between CONNECT and CONNACK.
// With TLS that is how brokers refuse a certificate: by TLS 1.3 the handshake is
// over before the client's is looked at, and AWS closes without a word when it
// is not registered or not active (B12), or was registered just now (B13).
// Without TLS it is as likely to be the network.
func closedEarly(err error, secure bool) error {
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	switch {
	case !closed:
		return upstream.Explain(err)
	case !secure:
		return fmt.Errorf("the broker closed the connection instead of answering: %w", err)
	}
	return &RefusedError{
		Reason: "the broker closed the connection instead of answering",
		Remedy: "check that tls.cert is set and one that it takes (on AWS: registered, ACTIVE, with a policy that allows this client id to connect)",
		Err:    err,
	}
}
