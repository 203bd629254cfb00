package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/delivery"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// streamsGet are the flags of ebbgate streams get.
type streamsGet struct {
	deviceFlags
	streamPrices
	thing       string
	file        int
	out, format string
	block       bridge.Size
	blocks      int
	wait        time.Duration
	json        bool
}

func newStreamsGetCommand() *cobra.Command {
	o := streamsGet{format: string(delivery.CBOR), block: 32 << 10}
	cmd := &cobra.Command{
		Use: "get STREAM", Short: "Download a file of a stream, as a device does", Args: cobra.ExactArgs(1),
		Long: `Download a file of a stream from a gateway, or from AWS IoT Core, as a device does.
It waits out a connection that is lost. What was interrupted goes on where it was
when the same command is given again: what is there is in OUT.part and
OUT.part.json until the file is whole. The SHA-256 is printed in the end.

--dry-run downloads nothing: it asks what the stream is, one request with its answer,
and says what the download would cost, a device by itself and once for all of them
through a gateway, against S3. What OUT.part has already is not taken off.

Exit codes: 0 the file is there; 1 failed or interrupted, the same command goes on; 2
wrong usage, or something is in the way of OUT; 4 the login is refused, or the policy
forbids it.`,
		Example: `  ebbgate streams get pump-2_4 --broker mqtts://gateway:8883 --thing pump-7 \
    --ca ca.pem --cert pump-7.pem --key pump-7.key --out firmware.bin
  ebbgate streams get pump-2_4 --thing pump-7 --dry-run --devices 50`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(checkStreamID(args[0]), o.check(), o.streamPrices.check(cmd)); err != nil {
				return err
			}
			o.json, _ = cmd.Flags().GetBool("json") // the group has it
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	o.deviceFlags.add(cmd, "MQTT client id; the thing's name without it")
	o.streamPrices.add(cmd)
	fl.StringVar(&o.thing, "thing", "", "thing to ask as (required)")
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

// denied makes a refusal by the policy, which waiting does not help against, one that
// ends the command.
func (o *streamsGet) denied(w bridge.Warning) bridge.Warning {
	if w.Code == "stream-down" && strings.Contains(w.Text, "0x87") || w.Code == "stream-filters-refused" {
		w.Severity = bridge.Critical
		w.Text = strings.TrimSuffix(w.Text, "; tried again until it works") + fmt.Sprintf("; the policy forbids it, or %s is not the thing of this client: it asks for its own thing only", o.thing)
	}
	return w
}

// run downloads, and prints what there is.
func (o *streamsGet) run(ctx context.Context, stream string, stdout, stderr io.Writer) error {
	m, err := o.options(o.thing)
	if err != nil {
		return err
	}
	format := delivery.Format(o.format)
	line := &transferLine{w: stderr}
	var talk *mqtt.Talk
	client := delivery.NewClient(o.thing, format, talkTransport{&talk})
	hooks, refused := deviceHooks(line.say)
	raise := hooks.Raise
	hooks.Raise = func(w bridge.Warning) { raise(o.denied(w)) }
	talk = mqtt.NewTalk(m, "stream", m.ClientID, delivery.Filters(o.thing, format), func(m *bridge.Message, _ int, ack func()) {
		client.Take(m)
		ack()
	}, slog.New(slog.DiscardHandler), hooks)
	d := &delivery.Download{
		Client: client, Stream: stream, File: o.file, Path: cmp.Or(o.out, fmt.Sprintf("%s.%d", stream, o.file)),
		Block: int(o.block), Blocks: o.blocks, Wait: o.wait, Progress: line.progress, Say: line.say,
	}
	var r *delivery.Result
	var e *streamEstimate
	err = conversing(ctx, talk, refused, func(ctx context.Context) (err error) {
		if o.dryRun {
			e, err = o.plan(ctx, d)
		} else {
			r, err = d.Run(ctx)
		}
		return err
	})
	line.end()
	if err != nil {
		return inTheWay(err)
	}
	if o.dryRun {
		return e.told(stdout, o.json, fmt.Sprintf("%s, version %d, file %d", stream, e.Plan.Version, o.file))
	}
	if o.json {
		return printIndented(stdout, r)
	}
	_, err = fmt.Fprintf(stdout, "%s  %s\n", r.SHA256, r.Path)
	return err
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
	said    string    // the last line
	at      time.Time // when
	times   int       // how often it has come since, and was not written
}

// sayAgain is how often the same line is written while nothing else happens.
const sayAgain = time.Minute

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
	text := fmt.Sprintf("[%s] %s of %s, %d %%", bar(done, total), humanSize(done), humanSize(total), percent(done, total))
	if took := now.Sub(p.began).Seconds(); took > 1 && done > p.first {
		rate := float64(done-p.first) / took
		text += fmt.Sprintf(", %s/s, %s left", humanSize(int64(rate)), humanAge(seconds(float64(total-done)/rate)))
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text)
}

// say writes a line of its own: the same one again only once a minute.
func (p *transferLine) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if text == p.said && now.Sub(p.at) < sayAgain {
		p.times++
		return
	}
	line := text
	if text == p.said && p.times > 0 {
		line = fmt.Sprintf("%s (%d times more since)", text, p.times)
	}
	p.said, p.at, p.times = text, now, 0
	p.endLocked()
	_, _ = fmt.Fprintln(p.w, line)
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
