package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/aws"
	"github.com/ebbgate/ebbgate/upstream/https"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// signedCloud is a sandbox that takes signatures of a temporary key.
func signedCloud(t *testing.T) (*sandbox.Cloud, sandboxFiles) {
	t.Helper()
	files, err := throwAwayCertificates(t.TempDir(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := sandbox.Open(sandbox.Options{NoGate: true, NoLimits: true, Signed: &sandbox.SignedOptions{
		Address: "127.0.0.1:0", Cert: files.server, Key: files.serverKey,
		Keys: sandbox.Keys{AccessKeyID: "ASIATEST", SecretAccessKey: "secret/+=", SessionToken: "token/+="},
	}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	peers.Run(t, cloud.Run)
	return cloud, files
}

// signedUpstream is an upstream that logs in there.
func signedUpstream(endpoint string, files sandboxFiles) configs.Upstream {
	u := configs.DefaultUpstream()
	u.MQTT.Endpoint, u.MQTT.ClientID, u.MQTT.TLS.CA = endpoint, "plant7", files.ca
	u.AWS = aws.Options{Sign: aws.SignAlways, Region: "eu-central-1", AccessKeyID: "ASIATEST", SecretAccessKey: "secret/+=", SessionToken: "token/+="}
	return u
}

// aMessage is a message on its way up.
func aMessage(topic string) *bridge.Delivery {
	r := &bridge.Record{
		Message:   bridge.Message{Topic: topic, Payload: []byte("signed"), QoS: 1},
		Origin:    bridge.Origin{Device: "press-1"},
		Receivers: []bridge.Receiver{{Queue: "up/aws/all", Topic: topic, QoS: 1}},
	}
	return &bridge.Delivery{Stored: &bridge.Stored{Seq: 1, Place: 1, Record: r, Receiver: &r.Receivers[0]}, Attempt: 1}
}

// U6, B198, B200: signed publishes reach a server that speaks AWS's API, with
// everything that MQTT 5 has.
func TestB198_SignedHTTPS(t *testing.T) {
	cloud, files := signedCloud(t)
	u := signedUpstream("https://"+cloud.Signed(), files)
	u.MQTT.Backoff.Base = time.Millisecond
	raised := make(chan bridge.Warning, 100)
	open := func(u configs.Upstream) bridge.Link {
		o, _ := u.HTTPS()
		up, err := https.NewUplink(o, requestSigner(signerOf(u)), slog.New(slog.DiscardHandler), upstream.Hooks{Raise: func(w bridge.Warning) { raised <- w }})
		if err != nil {
			t.Fatal(err)
		}
		l, err := up.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close(); <-l.Done() })
		return l
	}
	send := func(l bridge.Link, d *bridge.Delivery) bridge.Outcome {
		outcome := make(chan bridge.Outcome, 1)
		if err := l.Send(t.Context(), d, func(o bridge.Outcome) { outcome <- o }); err != nil {
			t.Fatal(err)
		}
		return <-outcome
	}
	d := aMessage("dt/press 1=2/ä")
	d.Record.Properties = bridge.Properties{
		PayloadFormat: 1, HasExpiry: true, Expiry: 60, ContentType: "text/plain; a=b", ResponseTopic: "answer/here", CorrelationData: []byte{0, 1},
		User: []bridge.UserProperty{{Key: "a", Value: "1"}, {Key: "a", Value: "<2>"}},
	}
	d.Remaining = 60
	l := open(u)
	if o := send(l, d); o.Result != bridge.ResultAcked || o.Wire < 300 {
		t.Errorf("outcome %+v", o)
	}
	if o := send(l, aMessage("dt/#")); o.Result != bridge.ResultRefused {
		t.Errorf("a topic that is none: %+v", o)
	}
	big := aMessage("dt/big")
	big.Record.Payload = make([]byte, 200<<10)
	if o := send(l, big); o.Result != bridge.ResultRefused {
		t.Errorf("a payload beyond AWS's: %+v", o)
	}
	if n := cloud.Arrivals().Counts().Messages; n != 1 {
		t.Errorf("%d messages arrived, want 1", n)
	}
	// A login that is not taken is no reason to give a message up.
	u.AWS.SecretAccessKey = "wrong"
	bad := open(u)
	if o := send(bad, aMessage("dt/x")); o.Result != bridge.ResultDenied && o.Result != bridge.ResultLost {
		t.Errorf("with a wrong key: %+v", o)
	}
}

// U6, B09: an uplink through a WebSocket that is signed by AWS's SDK is let in by
// a verifier that shares nothing with it, and a wrong key is not.
func TestB09_SignedWebSocket(t *testing.T) {
	cloud, files := signedCloud(t)
	u := signedUpstream("wss://"+cloud.Signed(), files)
	up := mqtt.NewUplink(u.MQTT, "plant7", slog.New(slog.DiscardHandler), upstream.Hooks{})
	up.Sign(signerOf(u))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l, err := up.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	outcome := make(chan bridge.Outcome, 1)
	if err := l.Send(ctx, aMessage("dt/press-1"), func(o bridge.Outcome) { outcome <- o }); err != nil {
		t.Fatal(err)
	}
	l.Flush()
	if o := <-outcome; o.Result != bridge.ResultAcked {
		t.Errorf("outcome %+v", o)
	}
	_ = l.Close()
	<-l.Done()

	for name, change := range map[string]func(*configs.Upstream){
		"another secret":   func(u *configs.Upstream) { u.AWS.SecretAccessKey = "wrong" },
		"without a token":  func(u *configs.Upstream) { u.AWS.SessionToken = "" },
		"nothing signed":   func(u *configs.Upstream) { u.AWS.Sign = aws.SignNever },
		"an ended session": func(u *configs.Upstream) { u.AWS.SessionToken = "ended" },
	} {
		u := u
		change(&u)
		u.MQTT.ClientID = "plant7-check"
		err := checkLogin(ctx, u, "dt/#")
		if err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "AWS credentials") || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: %v, want a refusal with 403", name, err)
		}
	}
}

// What config check --connect asks of an HTTPS way is answered by a server that has
// verified the login, and publishes nothing.
func TestCheckOverHTTPS(t *testing.T) {
	cloud, files := signedCloud(t)
	u := signedUpstream("https://"+cloud.Signed(), files)
	for _, topic := range []string{"dt/#", "dt/press", ""} {
		if err := checkLogin(t.Context(), u, topic); err != nil {
			t.Errorf("topic %q: %v", topic, err)
		}
	}
	for name, change := range map[string]func(*configs.Upstream){
		"another secret":  func(u *configs.Upstream) { u.AWS.SecretAccessKey = "wrong" },
		"without a token": func(u *configs.Upstream) { u.AWS.SessionToken = "" },
	} {
		u := u
		change(&u)
		err := checkLogin(t.Context(), u, "dt/#")
		if e, ok := errors.AsType[*upstream.RefusedError](err); !ok || !strings.Contains(e.Reason, "403") || !strings.Contains(e.Remedy, "AWS credentials") || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: %v, want a refusal with 403", name, err)
		}
	}
	if n := cloud.Arrivals().Counts().Messages; n != 0 {
		t.Errorf("%d messages were published", n)
	}
	for want, routes := range map[string][]rules.UpRoute{
		"dt":            {{Upstream: "other", Topic: "x"}, {Upstream: "aws", From: "dt/#", Topic: "${topic}"}},
		"site/+/+":      {{Upstream: "aws", From: "dt/#", Topic: "site/${thing}/${topic[2]}"}},
		"ebbgate/check": nil,
	} {
		if got := topicTo("aws", &configs.Config{Routes: rules.Options{Up: routes}}); got != want {
			t.Errorf("topic %q, want %q", got, want)
		}
	}
}
