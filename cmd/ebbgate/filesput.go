package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/filesend"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// filesPut are the flags of ebbgate files put.
type filesPut struct {
	deviceFlags
	protocol           string
	fileID, name       string
	segment            bridge.Size
	inFlight           int
	checksum, async    bool
	expireIn, ttl      time.Duration
	userData           string
	wait, timeout      time.Duration
	json, dryRun       bool
	region             string
	linkPrice, putCost string
	keepCost           string
}

func newFilesPutCommand() *cobra.Command {
	o := filesPut{segment: 128 << 10}
	cmd := &cobra.Command{
		Use: "put FILE", Short: "Send a file, as a device does", Args: cobra.ExactArgs(1),
		Long: `Send a file to a gateway, or to EMQX, by EMQX's file transfer, as a device does. It
waits out a connection that is lost, a full disk and a quota. What was interrupted goes
on where it was when the same command is given again: how far it is stands in
FILE.put.json until the file has arrived. The SHA-256 is printed in the end.

The file id is made of the name and the content, unless one is given: a file that has
changed is another one. Ids are for one file each.

What the same bytes would have cost as MQTT messages to AWS IoT Core, and as an upload
to S3, is said when all is there; with --dry-run before, at length, and nothing is sent.

Exit codes: 0 the far side has the file and has compared it; 1 failed or interrupted,
the same command goes on; 2 wrong usage; 4 the login is refused, or the policy forbids
it; 5 the far side does not take this file, and is told to forget what it has of it.`,
		Example: `  ebbgate files put pump.log --broker mqtts://gateway:8883 --client-id pump-7 \
    --ca ca.pem --cert pump-7.pem --key pump-7.key
  ebbgate files put camera.mp4 --client-id cam-1 --expire-in 720h --json
  ebbgate files put camera.mp4 --dry-run --region eu-central-1 --link-price 8`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.json, _ = cmd.Flags().GetBool("json") // the group has it
			if err := o.check(); err != nil {
				return err
			}
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	o.add(cmd, "MQTT client id, to which the transfer belongs (default ebbgate-HOST)")
	fl.StringVar(&o.protocol, "protocol", "auto", "MQTT version: 5, 3.1.1 or auto")
	fl.StringVar(&o.fileID, "file-id", "", "id of the file, for good (default made of name and content)")
	fl.StringVar(&o.name, "name", "", "what the file is called there (default as here)")
	fl.TextVar(&o.segment, "segment-size", o.segment, "bytes of one segment, 1KiB to 1MiB")
	fl.IntVar(&o.inFlight, "in-flight", 16, "most segments on their way, 1 to 100")
	fl.BoolVar(&o.checksum, "checksum", false, "send each segment's SHA-256 as well as the file's")
	fl.BoolVar(&o.async, "async", false, "use $file-async: for answers that take long")
	fl.DurationVar(&o.expireIn, "expire-in", 0, "when the far side may remove the file, from now; 0 is never")
	fl.DurationVar(&o.ttl, "segments-ttl", 0, "how long segments are kept there without the rest; 0 is the far side's own time")
	fl.StringVar(&o.userData, "user-data", "", "JSON that stays with the file")
	fl.DurationVar(&o.wait, "wait", time.Minute, "how long an answer is awaited before it is asked for again")
	fl.DurationVar(&o.timeout, "timeout", 0, "when to give up, with exit code 1; the same command goes on then; 0 never does")
	fl.BoolVar(&o.dryRun, "dry-run", false, "send nothing, and say what it would cost")
	fl.StringVar(&o.region, "region", "us-east-1", "for what it would cost: AWS region of the price of messages")
	fl.StringVar(&o.linkPrice, "link-price", "", "for what it would cost: dollars for a GB (1,000,000,000 bytes) of the link")
	fl.StringVar(&o.putCost, "put-price", putPrice, "for what it would cost: dollars for 1000 PUT requests to S3")
	fl.StringVar(&o.keepCost, "storage-price", keepPrice, "for what it would cost: dollars for a GB (1,073,741,824 bytes) a month in S3")
	return cmd
}

// check finds flags that cannot be.
func (o *filesPut) check() error {
	switch {
	case o.protocol != "auto" && o.protocol != "5" && o.protocol != "3.1.1":
		return invalidf("--protocol %s: write 5, 3.1.1 or auto", o.protocol)
	case o.segment < 1<<10 || o.segment > 1<<20:
		return invalidf("--segment-size %v: write from 1KiB to 1MiB", o.segment)
	case o.inFlight < 1 || o.inFlight > 100:
		return invalidf("--in-flight %d: write from 1 to 100", o.inFlight)
	case o.expireIn < 0 || o.ttl < 0:
		return invalidf("--expire-in and --segments-ttl: write 0 or more")
	case o.wait < time.Second:
		return invalidf("--wait %v: write 1s or more", o.wait)
	case o.timeout < 0:
		return invalidf("--timeout %v: write 0 or more", o.timeout)
	case o.userData != "" && !json.Valid([]byte(o.userData)):
		return invalidf("--user-data is no JSON: quote it for the shell")
	case !utf8.ValidString(o.fileID), !topicLevel(o.fileID):
		return invalidf("--file-id %q: it is a level of a topic, UTF-8 without / + and #", o.fileID)
	}
	return nil
}

// topicLevel reports whether a text may stand between two slashes of a topic.
func topicLevel(s string) bool {
	for _, r := range s {
		if r == '/' || r == '+' || r == '#' || r == 0 {
			return false
		}
	}
	return true
}

// run sends the file, and prints what there is.
func (o *filesPut) run(ctx context.Context, path string, stdout, stderr io.Writer) error {
	// A pipe without a writer would hang an open that waits, beyond any signal.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return invalidf("%w", err)
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !utf8.ValidString(cmp.Or(o.name, filepath.Base(path))) {
		return invalidf("the name %q is no UTF-8, and would be another one there: choose one with --name", cmp.Or(o.name, filepath.Base(path)))
	}
	if !info.Mode().IsRegular() {
		return invalidf("%s is no regular file: write what is in it to one, and send that", path)
	}
	o.name = cmp.Or(o.name, filepath.Base(path))
	e, err := o.estimate(info.Size())
	if err != nil {
		return err
	}
	if o.dryRun {
		if o.json {
			return printIndented(stdout, e)
		}
		return e.print(stdout, o.name)
	}
	host, _ := os.Hostname() // "ebbgate-" then
	m, err := o.options("ebbgate-" + host)
	if err != nil {
		return err
	}
	m.Protocol, m.AckTimeout = o.protocol, o.wait
	m.Limits.MessagesPerSecond, m.Limits.BytesPerSecond = 0, 0
	line := &transferLine{w: stderr}
	hooks, refused := deviceHooks(line.say)
	link := &talkLink{}
	s := filesend.New(link)
	link.Talk = mqtt.NewTalk(m, "files", m.ClientID, []string{filesend.ResponseFilter(m.ClientID)}, func(m *bridge.Message, _ int, ack func()) {
		s.Heard(m)
		ack()
	}, slog.New(slog.DiscardHandler), hooks)
	if err := o.describe(ctx, s, file, info.Size()); err != nil {
		return err
	}
	s.Still = (&watched{file, info, s.SHA256}).still
	s.ClientID, s.StatePath = m.ClientID, path+".put.json"
	s.Progress, s.Say = line.progress, line.say
	if o.timeout > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, errGivenUp)
		defer cancel()
	}
	var r *filesend.Result
	err = conversing(ctx, link.Talk, refused, func(ctx context.Context) (err error) {
		r, err = s.Run(ctx)
		return err
	})
	line.end()
	if errors.Is(err, errGivenUp) {
		return fmt.Errorf("%w after %v; the same command goes on where it was", errGivenUp, o.timeout)
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted; the same command goes on where it was")
	}
	if errors.Is(err, filesend.ErrChanged) {
		return fmt.Errorf("%s: %w: send it again when nobody writes to it, or a copy of it", path, err)
	}
	if err != nil {
		return o.explain(err)
	}
	if o.json {
		return printIndented(stdout, struct {
			*filesend.Result
			Instead *transferEstimate `json:"instead"` // what the same bytes would have cost
		}{r, e})
	}
	if _, err = fmt.Fprintf(stdout, "%s  %s as %s of %s\n", r.SHA256, printable(r.Name), printable(r.FileID), printable(r.ClientID)); err != nil {
		return err
	}
	return e.after(stderr) // the output is for scripts
}

// errGivenUp is that --timeout has passed.
var errGivenUp = errors.New("not done: --timeout has passed")

// describe fills in what is sent.
func (o *filesPut) describe(ctx context.Context, s *filesend.Sender, file *os.File, size int64) error {
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(whileAlive{ctx, file}, size))
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%s has become shorter while it was read", file.Name())
	}
	h.Sum(s.SHA256[:0])
	s.Size, s.Content, s.FileID = size, file, o.fileID
	if s.FileID == "" {
		both := sha256.Sum256(append([]byte(o.name+"\x00"), s.SHA256[:]...))
		s.FileID = hex.EncodeToString(both[:12])
	}
	s.Meta.Name, s.Meta.TTL = o.name, int64(o.ttl.Round(time.Second)/time.Second)
	if o.userData != "" {
		s.Meta.UserData = json.RawMessage(o.userData)
	}
	if o.expireIn > 0 {
		s.Meta.ExpireAt = time.Now().Add(o.expireIn).Unix()
	}
	s.Ask, s.Chosen = true, o.fileID != ""
	s.Async, s.Checksum, s.Segment, s.InFlight, s.Patience = o.async, o.checksum, int(o.segment), o.inFlight, o.wait
	return nil
}

// watched is a file that is being sent.
type watched struct {
	*os.File
	was    os.FileInfo
	sha256 [32]byte
}

// still reports whether it has the content that was hashed. What has been written to
// since, or is looked at closely, is read again: what was added at the end does not
// count.
func (w *watched) still(ctx context.Context, closely bool) (bool, error) {
	now, err := w.Stat()
	if err != nil || !closely && now.Size() == w.was.Size() && now.ModTime().Equal(w.was.ModTime()) {
		return true, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, whileAlive{ctx, io.NewSectionReader(w, 0, w.was.Size())}); err != nil {
		return false, err
	}
	return [32]byte(h.Sum(nil)) == w.sha256, nil
}

// whileAlive reads until its context ends.
type whileAlive struct {
	context.Context
	io.Reader
}

// Read implements io.Reader.
func (r whileAlive) Read(b []byte) (int, error) {
	if err := r.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

// explain gives a refusal its exit code and its remedy.
func (o *filesPut) explain(err error) error {
	said, refused := errors.AsType[*filesend.Refused](err)
	switch {
	case !refused || !said.Final():
		return err
	case said.TooLarge():
		return invalidf("%w: segments of %v are too large there, choose a smaller --segment-size", err, o.segment)
	case said.Denied():
		return &exitError{exitRefused, fmt.Errorf("%w: the policy forbids it; it has to allow iot:Publish on $file/* to this client", err)}
	case said.Word == "filemeta_conflict":
		return &exitError{exitNotTaken, fmt.Errorf("%w: this file id is in use for another file, or with other metadata; choose another with --file-id", err)}
	case said.Command == "init" && said.Word == "invalid_filemeta":
		return &exitError{exitNotTaken, fmt.Errorf("%w: the name %q or --user-data is not taken there; a name has 1 to 240 bytes, none of / \\ : and no control characters: choose one with --name", err, printable(o.name))}
	case said.Word == "efbig":
		return &exitError{exitNotTaken, fmt.Errorf("%w: the file is larger than the far side takes (file_transfer.max_file of a gateway): send it in parts, or have that raised", err)}
	}
	return &exitError{exitNotTaken, err}
}

// talkLink lends a connection to a sender that is made before it.
type talkLink struct{ *mqtt.Talk }
