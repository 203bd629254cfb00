package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/internal/sandbox"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

func newSandboxCommand() *cobra.Command {
	var o sandboxOptions
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Run a stand-in for AWS IoT Core, to test devices on and to try things",
		Long: `Run a broker that behaves as AWS IoT Core does (profile aws), its quotas
included: what AWS discards, delays or refuses, it discards, delays or refuses,
and its log says why. It keeps nothing on disk, and has a broker's part of AWS
only: no rules, shadows or jobs; of file delivery what --stream defines.

Who may connect is said by one of
  --anonymous              everybody may do everything; on loopback only
  --policies and --things  your own policies, for certificates of the registry
  --policies and --attach  policies for all clients: those with a certificate of
                           --client-ca (or of --tls), without TLS on loopback only

--tls DIR speaks TLS with an authority made for it: clients need DIR/ca.pem, and
may use DIR/device.pem and DIR/device.key. What DIR has already is used again.

--sigv4 takes who signs with the key in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_SESSION_TOKEN of the sandbox's environment, which may be anything, as AWS takes
it: in the query of a WebSocket, in the header of a request. Policies are those of
--attach.

When it is ready it prints its address, one line: mqtt://127.0.0.1:1884, with TLS
mqtts://…; then those of --websocket, --https, --sigv4 and --control, a line each; with
--json all of them and the files in one line of JSON.

With --control its link can be broken over HTTP, by POST /cut, /blackhole, /refuse,
/slow?latency=300ms&rate=20000 and /restore; GET /report and /latest tell what has
arrived. PUT /streams/ID with a file as its body makes a stream, or its next version,
DELETE /streams/ID removes it, and GET /streams tells what was sent of each.`,
		Example: `  ebbgate sandbox --listen 127.0.0.1:1884 --anonymous
  ebbgate sandbox --listen 0.0.0.0:8883 --tls certs --policies policies --things things.yaml
  ebbgate sandbox --anonymous --stream pump-2_4=firmware.bin
  ebbgate sandbox --anonymous --control 127.0.0.1:18831
  curl -X POST http://127.0.0.1:18831/blackhole`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return &exitError{exitInvalid, err}
			}
			log := newLogger(configs.Log{Format: "text", Level: "info"}, cmd.ErrOrStderr())
			return o.run(cmd.Context(), cmd.OutOrStdout(), log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "address of the MQTT endpoint; port 0 takes a free one")
	f.BoolVar(&o.anonymous, "anonymous", false, "everybody may connect and do everything")
	f.StringVar(&o.policies, "policies", "", "folder of policy documents, one NAME.json each")
	f.StringVar(&o.things, "things", "", "registry file with the things and their certificates")
	f.StringSliceVar(&o.attach, "attach", nil, "policies of clients that are not in the registry")
	f.StringVar(&o.tls, "tls", "", "folder of an authority and certificates, made when they are not there")
	f.StringVar(&o.cert, "cert", "", "PEM file with the server's certificate, in place of --tls")
	f.StringVar(&o.key, "key", "", "PEM file with the key of --cert")
	f.StringVar(&o.clientCA, "client-ca", "", "PEM file with the authorities of the clients' certificates")
	f.StringVar(&o.websocket, "websocket", "", "address of a WebSocket endpoint beside; none when empty")
	f.StringVar(&o.https, "https", "", "address of AWS's HTTP API beside, with TLS only; none when empty")
	f.StringVar(&o.sigv4, "sigv4", "", "address for logins by a signature (SigV4), with TLS only: WebSocket at /mqtt, and AWS's HTTP API; none when empty")
	f.StringVar(&o.control, "control", "", "loopback address of the control API; none when empty")
	f.StringArrayVar(&o.streams, "stream", nil, "ID=PATH, a stream for file delivery, of a file or of a folder's files; may be repeated")
	f.BoolVar(&o.noLimits, "no-limits", false, "lift the quotas of pace, such as 100 publishes a second")
	f.BoolVar(&o.json, "json", false, "print addresses and files as JSON")
	return cmd
}

// ready is what the command prints once.
type ready struct {
	Endpoint  string `json:"endpoint"`            // mqtt://host:port or mqtts://host:port
	WebSocket string `json:"websocket,omitempty"` // ws://host:port/mqtt or wss://…
	HTTPS     string `json:"https,omitempty"`
	Signed    string `json:"sigv4,omitempty"`   // https://host:port
	Control   string `json:"control,omitempty"` // http://host:port
	CA        string `json:"ca,omitempty"`      // files of --tls
	Cert      string `json:"cert,omitempty"`
	Key       string `json:"key,omitempty"`
}

func (r ready) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	for _, address := range []string{r.Endpoint, r.WebSocket, r.HTTPS, r.Signed, r.Control} {
		if address == "" {
			continue
		}
		if _, err := fmt.Fprintln(w, address); err != nil {
			return err
		}
	}
	return nil
}

// run opens the sandbox and serves until ctx ends.
func (o *sandboxOptions) run(ctx context.Context, out io.Writer, log *slog.Logger) error {
	options, said, err := o.cloud()
	if err != nil {
		return err
	}
	streams, err := sandbox.ReadStreams(o.streams)
	if err != nil {
		return &exitError{exitInvalid, err}
	}
	cloud, err := sandbox.Open(options, log)
	if err != nil {
		return err
	}
	for id, files := range streams {
		cloud.Streams().Put(id, "", files)
	}
	said.Endpoint += cloud.Addr()
	if kind := o.webSocketType(); kind != "" {
		said.WebSocket = kind + "://" + cloud.Beside(kind) + "/mqtt"
	}
	if o.https != "" {
		said.HTTPS = "https://" + cloud.Beside("https")
	}
	if o.sigv4 != "" {
		said.Signed = "https://" + cloud.Signed()
	}
	var control net.Listener
	if o.control != "" {
		if control, err = net.Listen("tcp", o.control); err != nil {
			return errors.Join(fmt.Errorf("sandbox: %w", err), cloud.Close())
		}
		said.Control = "http://" + control.Addr().String()
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return cloud.Run(ctx) })
	if control != nil {
		g.Go(func() error { return serveHTTP(ctx, control, sandbox.NewControl(cloud)) })
	}
	g.Go(func() error { return said.print(out, o.json) })
	err = g.Wait()
	tellRefused(cloud, log)
	return err
}

// tellRefused says at the end what AWS's limits have cost.
func tellRefused(cloud *sandbox.Cloud, log *slog.Logger) {
	for _, d := range cloud.Discarded() {
		log.Warn("messages were not taken", "reason", d.Reason, "count", d.Count, "last_client", d.Device, "last_topic", d.Topic)
	}
	status := cloud.Broker()
	for _, q := range status.Quotas {
		if q.Enforced > 0 {
			log.Warn("clients were above a quota of pace", "quota", q.Quota, "key", q.Key, "count", q.Enforced)
		}
	}
	for _, c := range status.SilentCloses {
		log.Warn("MQTT 3.1.1 clients were closed without a word", "reason", c.Reason, "mqtt5_would_say", c.Said(), "count", c.Count)
	}
}

// awsUnits is how many messages AWS bills for a publish.
func awsUnits(m *bridge.Message) int64 { return billing.Publish(m, billing.DefaultUnit) }

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	}
	return nil
}
