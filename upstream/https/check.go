package https

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Check makes one request as the uplink would, which publishes nothing: its topic
// has a wildcard, so no server can take it, and one that has let us in says that.
// The topic should be within what we may publish, wildcard and all. s may be nil.
// The error is an [upstream.RefusedError] when something must be set right.
func Check(ctx context.Context, o Options, s Signer, topic string) error {
	u, err := NewUplink(o, s, slog.New(slog.DiscardHandler), upstream.Hooks{})
	if err != nil {
		return err
	}
	if !strings.ContainsAny(topic, "+#") {
		topic = strings.TrimPrefix(topic+"/#", "/")
	}
	p, err := publishOf(&bridge.Message{Topic: topic, QoS: 1}, 0)
	if err != nil {
		return err
	}
	r, err := p.request(ctx, u.at.url())
	if err != nil {
		return err
	}
	if err := u.authorize(r, p.body); err != nil {
		return err
	}
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return u.dial(ctx) }, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: o.AckTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		return upstream.Explain(err)
	}
	a, err := read(res)
	_ = res.Body.Close() // all that matters is read
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return a.verdict(u)
}

// verdict is what the answer to a check says.
func (a answer) verdict(u *Uplink) error {
	switch {
	case a.status == http.StatusBadRequest, a.status == http.StatusOK:
		return nil // it has looked at the topic, so it has let us in
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return &upstream.RefusedError{Reason: a.String(), Remedy: u.remedy()}
	case a.status == http.StatusTooManyRequests, a.status >= 500:
		return fmt.Errorf("the server answered %s; try again", a)
	}
	return notTheAPI(a)
}

// remedy is what to look at when we are not let in.
func (u *Uplink) remedy() string {
	switch {
	case u.signer != nil:
		return "check the AWS credentials, that they may iot:Publish to the topics of the routes, the region, and the clock of this machine"
	case len(u.o.Login) > 0:
		return "check that the authorizer exists and is ACTIVE, its token and signature, and that what it answers allows iot:Publish to the topics of the routes"
	case u.o.TLS.Cert != "":
		return "check that the certificate of tls.cert is registered and ACTIVE, and that its policy allows iot:Publish to the topics of the routes"
	}
	return "give the upstream a login: tls.cert and tls.key, AWS credentials, or an authorizer"
}

// notTheAPI says that somebody else has answered.
func notTheAPI(a answer) error {
	return &upstream.RefusedError{Reason: a.String(), Remedy: "correct endpoint: this is not AWS's HTTP API, which has POST /topics/TOPIC"}
}

// authorize adds the login to a request, where it is not the certificate.
func (u *Uplink) authorize(r *http.Request, body []byte) error {
	for name, values := range u.o.Login {
		r.Header[name] = values
	}
	if u.signer == nil {
		return nil
	}
	if err := u.signer.SignRequest(r, body); err != nil {
		return upstream.NoCredentials(err)
	}
	return nil
}
