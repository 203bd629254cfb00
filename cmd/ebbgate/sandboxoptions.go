package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/ebbgate/ebbgate/internal/devices"
	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/policy"
)

// sandboxOptions are the flags of ebbgate sandbox.
type sandboxOptions struct {
	listen, control     string
	websocket, https    string
	sigv4               string
	anonymous           bool
	policies, things    string
	attach              []string
	tls                 string
	cert, key, clientCA string
	noLimits, json      bool
	streams             []string
}

// check finds flags that do not fit together. Nobody may connect unless the
// flags say who.
func (o *sandboxOptions) check() error {
	secure := o.secure()
	switch {
	case o.https != "" && !secure:
		return errors.New("--https needs TLS: add --tls DIR, or --cert and --key")
	case o.sigv4 != "" && !secure:
		return errors.New("--sigv4 needs TLS: add --tls DIR, or --cert and --key")
	case o.sigv4 != "" && (os.Getenv("AWS_ACCESS_KEY_ID") == "" || os.Getenv("AWS_SECRET_ACCESS_KEY") == ""):
		return errors.New("--sigv4 takes the signatures of the key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: set both, to anything")
	case o.sigv4 != "" && !o.anonymous && len(o.attach) == 0:
		return errors.New("who logs in by a signature would have no policy: use --attach NAME, in place of --things, or --anonymous")
	case !o.anonymous && o.policies == "":
		return errors.New("nobody could connect: add --anonymous, which lets everybody do everything, or --policies DIR with --things FILE or --attach NAME")
	case o.anonymous && (o.policies != "" || o.things != "" || len(o.attach) > 0 || o.clientCA != ""):
		return errors.New("--anonymous lets everybody do everything: leave out --policies, --things, --attach and --client-ca, or --anonymous")
	case (o.cert == "") != (o.key == ""):
		return errors.New("--cert and --key belong together: name both files, or use --tls DIR")
	case o.tls != "" && (o.cert != "" || o.clientCA != ""):
		return errors.New("--tls DIR has its own certificates: leave out --cert, --key and --client-ca, or --tls")
	case o.clientCA != "" && !secure:
		return errors.New("--client-ca needs TLS: add --cert and --key")
	case o.things != "" && !secure:
		return errors.New("--things registers certificates, and without TLS there are none: add --tls DIR, or --cert and --key; or use --attach NAME")
	case o.policies != "" && o.things == "" && len(o.attach) == 0:
		return errors.New("no client has a policy: add --things FILE, which attaches them to certificates, or --attach NAME")
	case o.things != "" && len(o.attach) > 0:
		return errors.New("--attach is for clients that are not in the registry: leave it out, or --things")
	}
	if o.control != "" {
		if err := loopback(o.control); err != nil {
			return fmt.Errorf("--control %s: %w", o.control, err)
		}
	}
	if o.things == "" && o.clientCA == "" && (o.anonymous || o.tls == "") {
		for flag, addr := range map[string]string{"--listen": o.listen, "--websocket": o.websocket, "--https": o.https} {
			if err := loopback(addr); err != nil && addr != "" {
				return fmt.Errorf("%s %s: clients need no certificate, and %w", flag, addr, err)
			}
		}
	}
	return nil
}

// secure reports whether the sandbox speaks TLS.
func (o *sandboxOptions) secure() bool { return o.tls != "" || o.cert != "" }

// webSocketType is the type of the listener of --websocket, empty without.
func (o *sandboxOptions) webSocketType() string {
	switch {
	case o.websocket == "":
		return ""
	case o.secure():
		return "wss"
	}
	return "ws"
}

// cloud is what the flags describe, and what is printed of it.
func (o *sandboxOptions) cloud() (sandbox.Options, ready, error) {
	out := sandbox.Options{Address: o.listen, NoGate: o.control == "", NoLimits: o.noLimits, Identify: devices.Identify, Units: awsUnits}
	out.Beside = map[string]string{}
	if kind := o.webSocketType(); kind != "" {
		out.Beside[kind] = o.websocket
	}
	if o.https != "" {
		out.Beside["https"] = o.https
	}
	said := ready{Endpoint: "mqtt://"}
	tls := localbroker.TLSOptions{Cert: o.cert, Key: o.key, ClientCA: o.clientCA, ClientAuth: "fingerprint"}
	if o.tls != "" {
		files, err := throwAwayCertificates(o.tls, o.listen)
		if err != nil {
			return out, said, err
		}
		tls.Cert, tls.Key = files.server, files.serverKey
		said.CA, said.Cert, said.Key = files.ca, files.device, files.deviceKey
		if o.things == "" && !o.anonymous {
			tls.ClientCA = files.ca
		}
	}
	if o.sigv4 != "" {
		out.Signed = &sandbox.SignedOptions{Address: o.sigv4, Cert: tls.Cert, Key: tls.Key, Keys: sandbox.Keys{
			AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
		}}
	}
	if tls.ClientCA != "" {
		tls.ClientAuth = "both"
		if o.things == "" {
			tls.ClientAuth = "chain"
		}
	}
	out.Listener = func(l *localbroker.ListenerOptions) {
		l.Policies = o.attach
		if tls.Cert == "" {
			return
		}
		l.Type, l.TLS = "tls", tls
		if o.things != "" || tls.ClientCA != "" {
			l.Auth = "certificate"
		}
	}
	if tls.Cert != "" {
		said.Endpoint = "mqtts://"
	}
	if o.anonymous {
		return out, said, nil
	}
	p := policy.DefaultOptions()
	p.Policies, p.Things = o.policies, o.things
	engine, err := policy.Load(p)
	if err != nil {
		return out, said, &exitError{exitInvalid, err}
	}
	for _, name := range o.attach {
		if !engine.HasPolicy(name) {
			return out, said, &exitError{exitInvalid, fmt.Errorf("--attach %s: there is no %s.json in %s: write it, or correct the name", name, name, o.policies)}
		}
	}
	out.Identities, out.Authorizer = engine, engine
	return out, said, nil
}

// loopback refuses an address that others can reach.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("others can reach it: use 127.0.0.1")
	}
	return nil
}
