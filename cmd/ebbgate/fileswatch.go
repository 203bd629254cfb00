package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// transferEvent is one event of the gateway's stream.
type transferEvent struct {
	Event    string          `json:"event"` // transfer or gone
	Transfer upload.Transfer `json:"transfer"`
}

// longestEvent bounds a line of the stream: a transfer has 16 KiB of metadata, in
// JSON's escapes.
const longestEvent = 1 << 20

// watchAgain is how long a client waits before it asks for a stream anew that has
// made way for another.
const watchAgain = time.Second

// events calls fn with what changes, until ctx ends. nil is the end of what came
// together. A stream that the gateway ends, because others want its place, is asked
// for anew, and when there is no place then, again when the gateway says: what ended
// in between is told as gone. Who has had no stream yet is told that there is no place.
func (c *transfersClient) events(ctx context.Context, fn func(*transferEvent) error) error {
	running := map[transferID]struct{}{}
	follow := func(e *transferEvent) error {
		if e != nil && e.Event == "gone" {
			maps.DeleteFunc(running, func(id transferID, _ struct{}) bool { return id.of(&e.Transfer) })
		} else if e != nil {
			running[idOf(&e.Transfer)] = struct{}{}
		}
		return fn(e)
	}
	for again := false; ; {
		resp, err := c.request(ctx, http.MethodGet, transfersPath, http.Header{"Accept": {"text/event-stream"}})
		if err == nil && waitOf(resp) > 0 { // a stream without a place says only that
			err = &answerError{resp.StatusCode, tooManyWatch, waitOf(resp)}
		}
		if err == nil && again {
			err = c.endedBetween(ctx, running, follow)
		}
		if err == nil {
			err = c.stream(ctx, resp.Body, follow)
		}
		if resp != nil {
			_ = resp.Body.Close()
		}
		if ctx.Err() != nil {
			return nil
		}
		pause := watchAgain
		if refused, ok := errors.AsType[*answerError](err); ok && again && refused.wait > 0 {
			pause = max(pause, refused.wait)
		} else if !errors.Is(err, errStreamEnds) {
			return err
		}
		again = true
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// errStreamEnds is that the gateway has ended a stream.
var errStreamEnds = errors.New("the gateway ends the stream")

// endedBetween tells of those that ran at the end of a stream and do not run at the
// beginning of the next.
func (c *transfersClient) endedBetween(ctx context.Context, running map[transferID]struct{}, fn func(*transferEvent) error) error {
	gone := map[transferID]bool{} // those of one client's file are one
	for id := range running {
		gone[transferID{id.client, id.file, true}] = true
	}
	_, err := c.each(ctx, stateRunning, 0, func(t *upload.Transfer) error {
		if _, known := running[idOf(t)]; known || t.SHA256 != "" {
			delete(gone, transferID{t.ClientID, t.FileID, true})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id := range gone {
		all, err := c.show(ctx, id.client, id.file)
		if err != nil && !errors.Is(err, errNoTransfer) {
			return err
		}
		e := &transferEvent{Event: "gone", Transfer: upload.Transfer{ClientID: id.client, FileID: id.file}}
		for i := range all {
			if all[i].State == upload.StateExported {
				e.Transfer = all[i].Transfer
			}
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// stream reads one stream to its end.
func (c *transfersClient) stream(ctx context.Context, body io.Reader, fn func(*transferEvent) error) error {
	in := bufio.NewReaderSize(body, longestEvent)
	e := &transferEvent{}
	for {
		line, err := in.ReadSlice('\n')
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w at %s: %w", errStreamEnds, c.address, err)
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "event":
			e.Event = string(value)
		case "data":
			if err := json.Unmarshal(value, &e.Transfer); err != nil {
				return fmt.Errorf("the gateway at %s: %w", c.address, err)
			}
		}
		if len(line) > 0 {
			continue
		}
		if e.Event != "" {
			if err := fn(e); err != nil {
				return err
			}
		}
		e = &transferEvent{}
		if in.Buffered() == 0 {
			if err := fn(nil); err != nil {
				return err
			}
		}
	}
}

// watch shows what changes until ctx ends.
func (f *filesFlags) watch(ctx context.Context, c *transfersClient, w io.Writer) error {
	if f.json {
		return c.events(ctx, func(e *transferEvent) error {
			if e == nil {
				return nil
			}
			return json.NewEncoder(w).Encode(e)
		})
	}
	v := &transferView{w: w, running: map[string]*upload.Transfer{}, states: map[string]upload.State{}}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		v.size = func() (columns, rows int) {
			columns, rows, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 80, 24
			}
			return columns, rows
		}
	}
	return c.events(ctx, v.take)
}
