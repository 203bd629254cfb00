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

func newDecodeCommand() *cobra.Command {
	f := new(decodeFlags)
	cmd := &cobra.Command{
		Use:   "decode [FILE...]",
		Short: "Undo what the steps of a route have done to messages",
		Long: `Undo what the steps of a route have done to messages: parts, compression,
batches and envelopes. It reads files or standard input and writes one JSON object a line for
each message as a device published it.

With --input lines each line is one message, either "TOPIC HEX", as written by
mosquitto_sub -F '%t %x', or a JSON object with topic, payload and properties, as
written by mosquitto_sub -V 5 -F %J. The first loses the properties: compression is
recognised by its first bytes, batches other than JSON arrays need --batch. With
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
	read := f.lines
	switch f.input {
	case "lines":
	case "message":
		read = f.message
	default:
		return &exitError{exitInvalid, fmt.Errorf("--input %q is neither lines nor message", f.input)}
	}
	out := bufio.NewWriter(cmd.OutOrStdout())
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	d := &shape.Decoder{Batch: f.batch}
	take := func(m shape.Received) error {
		return d.Decode(m, func(one shape.Decoded) error { return enc.Encode(one) })
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	for _, name := range args {
		if err := f.file(cmd, name, func(r io.Reader) error { return read(r, take) }); err != nil {
			return errors.Join(out.Flush(), fmt.Errorf("%s: %w", name, err))
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if n := d.Incomplete(); n > 0 {
		return fmt.Errorf("parts of %d messages are missing: were all of them received?", n)
	}
	return nil
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
func (f *decodeFlags) message(r io.Reader, take func(shape.Received) error) error {
	payload, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return err
	}
	if len(payload) > maxMessage {
		return fmt.Errorf("it is larger than %d bytes", maxMessage)
	}
	return take(shape.Received{Payload: payload})
}

// lines reads a message a line.
func (f *decodeFlags) lines(r io.Reader, take func(shape.Received) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 {
			continue
		}
		m, err := parseReceived(line)
		if err == nil {
			err = take(m)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
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
