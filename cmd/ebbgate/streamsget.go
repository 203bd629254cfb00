package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/delivery"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// streamsGet are the flags of ebbgate streams get.
type streamsGet struct {
	broker, thing, clientID string
	user, password          string
	ca, cert, key           string
	file                    int
	out, format             string
	block                   bridge.Size
	blocks                  int
	wait                    time.Duration
	json                    bool
}

func newStreamsGetCommand() *cobra.Command {
	o := streamsGet{format: string(delivery.CBOR), block: 32 << 10}
	cmd := &cobra.Command{
		Use: "get STREAM", Short: "Download a file of a stream, as a device does", Args: cobra.ExactArgs(1),
		Long: `Download a file of a stream from a gateway, or from AWS IoT Core, as a device does.
It waits out a connection that is lost. What was interrupted goes on where it was
when the same command is given again: what is there is in OUT.part and
OUT.part.json until the file is whole. The SHA-256 is printed in the end.`,
		Example: `  ebbgate streams get pump-2_4 --broker mqtts://gateway:8883 --thing pump-7 \
    --ca ca.pem --cert pump-7.pem --key pump-7.key --out firmware.bin`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			o.json, _ = cmd.Flags().GetBool("json") // the group has it
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.broker, "broker", "mqtt://127.0.0.1:1883", "where to ask: mqtt://, mqtts://, ws:// or wss://")
	fl.StringVar(&o.thing, "thing", "", "thing to ask as (required)")
	fl.StringVar(&o.clientID, "client-id", "", "MQTT client id; the thing's name without it")
	fl.StringVar(&o.user, "user", "", "user name")
	fl.StringVar(&o.password, "password-file", "", "file with the user's password")
	fl.StringVar(&o.ca, "ca", "", "PEM file of the authorities of the broker's certificate")
	fl.StringVar(&o.cert, "cert", "", "PEM file of the client certificate")
	fl.StringVar(&o.key, "key", "", "PEM file of its private key")
	fl.IntVar(&o.file, "file", 0, "which file of the stream, by its number")
	fl.StringVarP(&o.out, "out", "o", "", "where the file goes (default STREAM.FILE)")
	fl.StringVar(&o.format, "format", o.format, "json or cbor; cbor is a quarter smaller")
	fl.TextVar(&o.block, "block", o.block, "size of a block, 256B to 128KiB")
	fl.IntVar(&o.blocks, "blocks", 4, "blocks that one request asks for; no more than 128 KiB of them come")
	fl.DurationVar(&o.wait, "wait", 15*time.Second, "how long an answer is awaited before it is asked for again")
	return cmd
}

// check finds flags that cannot be.
func (o *streamsGet) check() error {
	switch {
	case o.thing == "":
		return invalidf("--thing is missing: name the thing to ask as; its policy decides")
	case o.format != string(delivery.JSON) && o.format != string(delivery.CBOR):
		return invalidf("--format %s: write json or cbor", o.format)
	case o.block < 256 || o.block > 128<<10:
		return invalidf("--block %v: write from 256B to 128KiB", o.block)
	case o.blocks < 1 || o.blocks > 512:
		return invalidf("--blocks %d: write from 1 to 512", o.blocks)
	case o.file < 0 || o.file > 255:
		return invalidf("--file %d: write from 0 to 255", o.file)
	case o.wait < time.Second:
		return invalidf("--wait %v: write 1s or more", o.wait)
	}
	return nil
}

// options are those of the connection.
func (o *streamsGet) options() (mqtt.Options, error) {
	m := mqtt.DefaultOptions()
	m.Endpoint, m.Protocol = o.broker, "auto"
	m.ClientID, m.Username = cmp.Or(o.clientID, o.thing), o.user
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

// run downloads, and prints what there is.
func (o *streamsGet) run(ctx context.Context, stream string, stdout, stderr io.Writer) error {
	m, err := o.options()
	if err != nil {
		return err
	}
	format := delivery.Format(o.format)
	line := &transferLine{w: stderr}
	var talk *mqtt.Talk
	client := delivery.NewClient(o.thing, format, talkTransport{&talk})
	refused := make(chan error, 1)
	hooks := upstream.Hooks{
		Raise: func(w bridge.Warning) {
			if w.Severity == bridge.Critical { // nothing that waiting helps against
				select {
				case refused <- &exitError{exitRefused, errors.New(w.Text)}:
				default:
				}
				return
			}
			line.say(w.Text)
		},
		Clear: func(string) {},
		Drop:  func(string, *bridge.Message) {},
	}
	talk = mqtt.NewTalk(m, "stream", m.ClientID, delivery.Filters(o.thing, format), func(m *bridge.Message, _ int, ack func()) {
		client.Take(m)
		ack()
	}, slog.New(slog.DiscardHandler), hooks)
	d := &delivery.Download{
		Client: client, Stream: stream, File: o.file, Path: cmp.Or(o.out, fmt.Sprintf("%s.%d", stream, o.file)),
		Block: int(o.block), Blocks: o.blocks, Wait: o.wait, Progress: line.progress,
	}
	r, err := download(ctx, talk, d, refused)
	line.end()
	if err != nil {
		return err
	}
	if o.json {
		return printIndented(stdout, r)
	}
	_, err = fmt.Fprintf(stdout, "%s  %s\n", r.SHA256, r.Path)
	return err
}

// download runs the connection beside the download.
func download(ctx context.Context, talk *mqtt.Talk, d *delivery.Download, refused <-chan error) (*delivery.Result, error) {
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
	r, err := d.Run(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	stop(nil)
	<-watching
	return r, errors.Join(err, <-talking)
}

// talkTransport lends a connection to a client that is made before it.
type talkTransport struct{ talk **mqtt.Talk }

// Up implements delivery.Transport.
func (t talkTransport) Up() bool { return (*t.talk).Up() }

// Publish implements delivery.Transport.
func (t talkTransport) Publish(m *bridge.Message) error {
	_, err := (*t.talk).Publish(m)
	return err
}

// transferLine shows how far a download is: in place on a terminal, and nothing
// but events elsewhere.
type transferLine struct {
	w io.Writer

	mu      sync.Mutex
	began   time.Time
	first   int64
	drawn   time.Time
	written bool
}

func (p *transferLine) terminal() bool {
	f, ok := p.w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *transferLine) progress(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.began.IsZero() {
		p.began, p.first = now, done
	}
	if !p.terminal() || now.Sub(p.drawn) < 100*time.Millisecond && done < total {
		return
	}
	p.drawn, p.written = now, true
	text := fmt.Sprintf("%s of %s, %d %%", humanSize(done), humanSize(total), 100*done/max(total, 1))
	if took := now.Sub(p.began).Seconds(); took > 1 && done > p.first {
		rate := float64(done-p.first) / took
		text += fmt.Sprintf(", %s/s, %s left", humanSize(int64(rate)), humanAge(seconds(float64(total-done)/rate)))
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text)
}

// say writes a line of its own.
func (p *transferLine) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked()
	_, _ = fmt.Fprintln(p.w, text)
}

func (p *transferLine) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked()
}

func (p *transferLine) endLocked() {
	if p.written {
		_, _ = fmt.Fprintln(p.w)
		p.written = false
	}
}
