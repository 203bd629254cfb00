package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/shape"
)

// maxLine bounds a line of what "ebbgate decode" reads: 128 KiB as JSON with
// every byte escaped, or as hex, and the properties.
const maxLine = 2 << 20

// maxMessage bounds a file that is one payload.
const maxMessage = 64 << 20

type decodeFlags struct {
	input string
	batch string
}

// decoding is one run of the command.
type decoding struct {
	*decodeFlags
	out    *bufio.Writer
	errs   io.Writer
	take   func(shape.Received) error
	failed int   // lines that could not be undone
	doubt  error // that the present message is what was sent
}

func newDecodeCommand() *cobra.Command {
	f := new(decodeFlags)
	cmd := &cobra.Command{
		Use:   "decode [FILE...]",
		Short: "Undo what the steps of a route have done to messages",
		Long: `Undo what the steps of a route have done to messages: parts, compression,
batches and envelopes. It reads files or standard input and writes one JSON object
a line for each message as a device published it.

With --input lines each line is one message, either "TOPIC HEX", as written by
mosquitto_sub -F '%t %x', or a JSON object with topic, payload and properties, as
written by mosquitto_sub -V 5 -F %J. The first loses the properties: compression is
recognised by its first bytes, batches other than JSON arrays need --batch. A line
that cannot be undone is told on standard error, and the others are undone; one that
begins as if it was compressed and is not, or is damaged, is told and given out. With
--input message each file is one payload.`,
		Example: `  mosquitto_sub -h broker -t 'dt/#' -F '%t %x' | ebbgate decode
  ebbgate decode --input message --batch ndjson payload.bin`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	cmd.Flags().StringVar(&f.input, "input", "lines", "what is read: lines, or message for one payload a file")
	cmd.Flags().StringVar(&f.batch, "batch", shape.Auto, "how batches stand in payloads: auto, none, json, ndjson, length_prefixed")
	return cmd
}

func (f *decodeFlags) run(cmd *cobra.Command, args []string) error {
	switch f.batch {
	case shape.Auto, shape.None, shape.JSON, shape.NDJSON, shape.LengthPrefixed:
	default:
		return &exitError{exitInvalid, fmt.Errorf("--batch %q is not one of auto, none, json, ndjson, length_prefixed", f.batch)}
	}
	c := &decoding{decodeFlags: f, out: bufio.NewWriter(cmd.OutOrStdout()), errs: cmd.ErrOrStderr()}
	read := c.lines
	switch f.input {
	case "lines":
	case "message":
		read = c.message
	default:
		return &exitError{exitInvalid, fmt.Errorf("--input %q is neither lines nor message", f.input)}
	}
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	d := &shape.Decoder{Batch: f.batch, Doubt: func(why error) { c.doubt = why }}
	c.take = func(m shape.Received) error {
		return d.Decode(m, func(one shape.Decoded) error { return enc.Encode(one) })
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	for _, name := range args {
		if err := f.file(cmd, name, func(r io.Reader) error { return read(name, r) }); err != nil {
			return errors.Join(c.out.Flush(), fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(c.out.Flush(), c.verdict(d))
}

// verdict is what was not undone, in words; nil when all was.
func (c *decoding) verdict(d *shape.Decoder) error {
	var failed, missing error
	if c.failed > 0 {
		failed = fmt.Errorf("%d lines could not be undone, see above", c.failed)
	}
	if n := d.Incomplete(); n > 0 {
		missing = fmt.Errorf("parts of %d messages are missing: were all of them received?", n)
	}
	return errors.Join(failed, missing)
}

// file opens a file, or standard input for "-".
func (f *decodeFlags) file(cmd *cobra.Command, name string, fn func(io.Reader) error) error {
	if name == "-" {
		return fn(cmd.InOrStdin())
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(fn(file), file.Close())
}

// message reads one payload.
func (c *decoding) message(name string, r io.Reader) error {
	payload, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return err
	}
	if len(payload) > maxMessage {
		return fmt.Errorf("it is larger than %d bytes", maxMessage)
	}
	err = c.take(shape.Received{Payload: payload})
	c.doubted(name)
	return err
}

// doubted says so when what was read was given out as it came, and may be damaged.
func (c *decoding) doubted(where string) {
	if c.doubt != nil {
		_, _ = fmt.Fprintf(c.errs, "%s: %v: it is given out as it came\n", where, c.doubt)
		c.doubt = nil
	}
}

// lines reads a message a line. What was undone is written before a wait for more:
// who looks on sees each message when it comes.
func (c *decoding) lines(name string, r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		var wrong error
		if long {
			wrong = fmt.Errorf("it is longer than %d bytes", maxLine)
		} else {
			wrong = c.line(bytes.TrimRight(line, "\r\n"))
		}
		if wrong != nil {
			if err := c.out.Flush(); err != nil { // nobody reads any more
				return err
			}
			c.failed++
			_, _ = fmt.Fprintf(c.errs, "%s: line %d: %v\n", name, n, wrong) // the exit code says it as well
		}
		c.doubted(fmt.Sprintf("%s: line %d", name, n))
		if in.Buffered() == 0 {
			if err := c.out.Flush(); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// line undoes the message of one line; an empty one has none. What ends in a blank
// has an empty payload.
func (c *decoding) line(line []byte) error {
	switch text := bytes.TrimSpace(line); {
	case len(text) == 0:
		return nil
	case text[0] == '{':
		line = text
	}
	m, err := parseReceived(line)
	if err != nil {
		return err
	}
	return c.take(m)
}

// parseReceived reads a line of mosquitto_sub.
func parseReceived(line []byte) (shape.Received, error) {
	if line[0] == '{' {
		return parseJSONLine(line)
	}
	topic, text := []byte(nil), line
	if i := bytes.LastIndexByte(line, ' '); i >= 0 {
		topic, text = line[:i], line[i+1:]
	}
	payload := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(payload, text); err != nil {
		return shape.Received{}, fmt.Errorf("neither JSON nor a topic and a payload in hex: %w", err)
	}
	return shape.Received{Topic: string(topic), Payload: payload}, nil
}

// parseJSONLine reads what mosquitto_sub -F %J writes. A payload that is a JSON
// string there stays one, as it was published.
func parseJSONLine(line []byte) (shape.Received, error) {
	var in struct {
		Topic      *string         `json:"topic"`
		Payload    json.RawMessage `json:"payload"`
		Properties struct {
			ContentType string          `json:"content-type"`
			User        json.RawMessage `json:"user-properties"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return shape.Received{}, fmt.Errorf("not JSON: %w", err)
	}
	if in.Topic == nil {
		return shape.Received{}, errors.New("an object without a topic: use mosquitto_sub -F %J, or --input message for a payload")
	}
	m := shape.Received{Topic: *in.Topic, ContentType: in.Properties.ContentType}
	if string(in.Payload) != "null" {
		m.Payload = in.Payload
	}
	var user map[string]string
	if len(in.Properties.User) > 0 {
		if err := json.Unmarshal(in.Properties.User, &user); err != nil {
			return shape.Received{}, fmt.Errorf("user-properties: %w", err)
		}
	}
	for k, v := range user {
		m.User = append(m.User, bridge.UserProperty{Key: k, Value: v})
	}
	return m, nil
}
