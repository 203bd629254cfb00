package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// deviceFlags are how a command connects that does what a device does.
type deviceFlags struct {
	broker, clientID string
	user, password   string
	ca, cert, key    string
}

// add adds them to a command. clientID explains what a client id is for there.
func (o *deviceFlags) add(cmd *cobra.Command, clientID string) {
	fl := cmd.Flags()
	fl.StringVar(&o.broker, "broker", "mqtt://127.0.0.1:1883", "where to connect: mqtt://, mqtts://, ws:// or wss://")
	fl.StringVar(&o.clientID, "client-id", "", clientID)
	fl.StringVar(&o.user, "user", "", "user name")
	fl.StringVar(&o.password, "password-file", "", "file with the user's password")
	fl.StringVar(&o.ca, "ca", "", "PEM file of the authorities of the broker's certificate")
	fl.StringVar(&o.cert, "cert", "", "PEM file of the client certificate")
	fl.StringVar(&o.key, "key", "", "PEM file of its private key")
}

// options are those of the connection. name is the client id where none was given.
func (o *deviceFlags) options(name string) (mqtt.Options, error) {
	m := mqtt.DefaultOptions()
	m.Endpoint, m.Protocol = o.broker, "auto"
	m.ClientID, m.Username = cmp.Or(o.clientID, name), o.user
	m.TLS = upstream.TLSOptions{CA: o.ca, Cert: o.cert, Key: o.key}
	m.Backoff.Base, m.Backoff.Max = 200*time.Millisecond, 5*time.Second
	if o.password != "" {
		b, err := os.ReadFile(o.password)
		if err != nil {
			return m, invalidf("--password-file: %w", err)
		}
		m.Password = bridge.Secret(trimLine(string(b)))
	}
	for _, p := range m.Validate() {
		return m, invalidf("%s %s: %s", p.Path, p.Text, p.Remedy)
	}
	return m, nil
}

// trimLine takes one line end away.
func trimLine(s string) string {
	for _, end := range []string{"\n", "\r"} {
		if n := len(s); n > 0 && s[n-1:] == end {
			s = s[:n-1]
		}
	}
	return s
}

// deviceHooks are what a connection tells its command: warnings in words, and on
// refused what waiting does not help against.
func deviceHooks(say func(string)) (hooks upstream.Hooks, refused chan error) {
	refused = make(chan error, 1)
	return upstream.Hooks{
		Raise: func(w bridge.Warning) {
			if w.Severity != bridge.Critical {
				say(w.Text)
				return
			}
			select {
			case refused <- &exitError{exitRefused, errors.New(w.Text)}:
			default:
			}
		},
		Clear: func(string) {},
		Drop:  func(string, *bridge.Message) {},
	}, refused
}

// conversing does work beside the connection that it needs, and ends both.
func conversing(ctx context.Context, talk *mqtt.Talk, refused <-chan error, work func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	talking, watching := make(chan error, 1), make(chan struct{})
	go func() { talking <- talk.Run(ctx) }()
	go func() {
		defer close(watching)
		select {
		case err := <-refused:
			stop(err)
		case <-ctx.Done():
		}
	}()
	err := work(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	stop(nil)
	<-watching
	return errors.Join(err, <-talking)
}
