package filesend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Sender sends one file. Set what is exported, then call Run, once.
type Sender struct {
	Link             Link
	ClientID, FileID string
	Meta             Meta
	Size             int64
	SHA256           [32]byte
	Content          io.ReaderAt
	// Still reports whether the content is what it was, as SHA256 has it. It is asked in
	// the end; when the far side has something else, it is to look at all of it. nil: it is.
	Still func(ctx context.Context, closely bool) (bool, error)

	// Ask has the far side asked by a fin, before anything is sent of a file of several
	// segments, whether it has the file already. A false success is not possible but with
	// EMQX, which compares nothing and says the same after all of it was sent.
	Ask bool
	// Chosen says that the file id is not made of name and content. Such a file is asked for
	// after init: before, the far side knows no name to compare.
	Chosen bool

	Async    bool          // commands are answered by their responses alone
	Checksum bool          // each segment goes with its own SHA-256
	Segment  int           // bytes of one
	InFlight int           // most segments on their way
	Patience time.Duration // for a response

	StatePath string                  // where it is noted how far it is; empty: nowhere
	Progress  func(done, total int64) // told as often as something is acknowledged; nil: nobody
	Say       func(text string)       // told what a person should know; nil: nobody

	commands *commands
	state    state
	saved    time.Time
	unnoted  bool
	asked    bool // Ask is done, or an earlier run has sent something
	there    bool // and the far side has it
	begun    bool // init was taken, or the far side has what an earlier run has sent
	window   int  // segments on their way
	sent     int64
}

// Meta is what init says of the file.
type Meta struct {
	Name     string          `json:"name"`
	Size     int64           `json:"size"`
	Checksum string          `json:"checksum"`
	ExpireAt int64           `json:"expire_at,omitempty"`    // seconds since 1970; 0: it does not expire
	TTL      int64           `json:"segments_ttl,omitempty"` // seconds; 0: the far side's own
	UserData json.RawMessage `json:"user_data,omitempty"`
}

// Result is what was sent.
type Result struct {
	ClientID string  `json:"client_id"`
	FileID   string  `json:"file_id"`
	Name     string  `json:"name"`
	Size     int64   `json:"size"`
	SHA256   string  `json:"sha256"`
	Resumed  int64   `json:"resumed"`  // bytes that were there already
	Messages int64   `json:"messages"` // commands that this run has sent
	Seconds  float64 `json:"seconds"`
}

// New is a sender for a link. It takes responses from now on.
func New(l Link) *Sender {
	return &Sender{Link: l, commands: &commands{link: l, open: map[string]*command{}}}
}

// Heard takes a message that came on the link, and reports whether it was a
// response to a command.
func (s *Sender) Heard(m *bridge.Message) bool { return s.commands.heard(m) }

func (s *Sender) sum() string { return hex.EncodeToString(s.SHA256[:]) }

func (s *Sender) say(text string) {
	if s.Say != nil {
		s.Say(text)
	}
}

// How often what fails is tried before a person has to look at it.
const (
	mostAnew   = 2  // the whole file
	mostFails  = 10 // in a row, of what may pass
	mostCuts   = 8  // in a row, connections that end before anything is acknowledged
	firstPause = 200 * time.Millisecond
	lastPause  = 30 * time.Second
	saveEvery  = time.Second
	lookEvery  = 50 * time.Millisecond // for a connection
)

// Run sends until the far side has the whole file, says that it never will, or ctx
// ends.
func (s *Sender) Run(ctx context.Context) (*Result, error) {
	s.commands.deliver = s.Async
	s.resume()
	s.save() // before init says when it expires
	resumed, began := s.state.Acked, time.Now()
	s.begun = resumed > 0
	s.asked = s.begun
	s.tell()
	t := trials{pause: firstPause}
	for {
		before := s.state.Acked
		err := s.attempt(ctx)
		if err == nil {
			if s.there {
				resumed = s.Size
			}
			return &Result{s.ClientID, s.FileID, s.Meta.Name, s.Size, s.sum(), resumed, s.sent, time.Since(began).Seconds()}, s.forget()
		}
		s.save()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if s.state.Acked > before {
			t = trials{anew: t.anew, pause: firstPause}
		}
		if err := s.decide(ctx, &t, err); err != nil {
			s.end(ctx, err)
			return nil, err
		}
		if err := sleep(ctx, t.pause); err != nil {
			return nil, context.Cause(ctx)
		}
		t.pause = min(2*t.pause, lastPause)
	}
}

// trials are what has failed since something was acknowledged; anew since ever.
type trials struct {
	fails, cuts, anew int
	waiting           bool
	pause             time.Duration
}

// decide says whether a failure is the last.
func (s *Sender) decide(ctx context.Context, t *trials, err error) error {
	said, refused := errors.AsType[*Refused](err)
	switch {
	case errors.Is(err, errDown):
		s.window = 1 // the line may be thin
		if t.cuts++; t.cuts >= mostCuts && s.state.Acked < s.Size {
			return fmt.Errorf("the broker ends the connection at each attempt, after %d of %d bytes: may client %s publish to $file/#, and does the broker take segments of %d bytes?", s.state.Acked, s.Size, s.ClientID, s.Segment)
		}
		return nil
	case errors.Is(err, errSilent):
		if t.fails++; t.fails >= 3 {
			return fmt.Errorf("%w for %v: is file transfer enabled there, and may client %s subscribe to %s?", err, s.Patience, s.ClientID, ResponseFilter(s.ClientID))
		}
		return nil
	case !refused || said.Final():
		return err
	case said.waits():
		if !t.waiting {
			t.waiting = true
			s.say(said.Error() + ": the far side has no room now, and is asked again")
		}
		return nil
	case said.Word == "incomplete" || said.Code == codeNobody && said.Word != "" || said.Command == commandFin && said.Word == "checksum_mismatch":
		if changed := s.unchanged(ctx, true); changed != nil {
			return changed
		}
		if t.anew++; t.anew > mostAnew {
			return err
		}
		s.state.Acked = 0
		s.say(said.Error() + ": the far side has forgotten a part, or has another; it is all sent anew")
		return nil
	case said.Code == codeNobody:
		return fmt.Errorf("%w: nothing takes files there; is file transfer enabled on this listener?", err)
	}
	if t.fails++; t.fails >= mostFails {
		return err
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// up waits for a connection.
func (s *Sender) up(ctx context.Context) error {
	for s.Link.Down() == nil {
		if err := sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
	return nil
}

// The names of commands.
const (
	commandInit    = "init"
	commandSegment = "a segment"
	commandFin     = "fin"
	commandAbort   = "abort"
)

// attempt sends what is missing, over one connection.
func (s *Sender) attempt(ctx context.Context) error {
	if err := s.up(ctx); err != nil {
		return err
	}
	if !s.Chosen {
		if done, err := s.ask(ctx); done || err != nil {
			return err
		}
	}
	if s.state.Acked < s.Size || s.Size == 0 {
		meta := s.Meta
		meta.Size, meta.Checksum = s.Size, s.sum()
		payload, err := json.Marshal(meta)
		if err != nil {
			return fmt.Errorf("the metadata: %w", err)
		}
		if err := s.do(ctx, commandInit, "init", payload); err != nil {
			return err
		}
		s.begun = true
		if s.Chosen {
			if done, err := s.ask(ctx); done || err != nil {
				return err
			}
		}
		if err := s.segments(ctx); err != nil {
			return err
		}
	}
	if err := s.unchanged(ctx, false); err != nil {
		return err
	}
	return s.fin(ctx)
}

func (s *Sender) fin(ctx context.Context) error {
	return s.do(ctx, commandFin, "fin/"+strconv.FormatInt(s.Size, 10)+"/"+s.sum(), nil)
}

// ask asks whether the far side has the file already, which is most of what is sent
// twice. Its answer counts but for what says that the file has to be sent.
func (s *Sender) ask(ctx context.Context) (there bool, err error) {
	if !s.Ask || s.asked || s.Size <= int64(s.Segment) {
		return false, nil
	}
	err = s.fin(ctx)
	if said, refused := errors.AsType[*Refused](err); refused {
		switch said.Word {
		case "incomplete", "checksum_mismatch", "read_segment":
			s.asked = true
			return false, nil
		}
	}
	s.there = err == nil
	return s.there, err
}

func (s *Sender) topic(rest string) string {
	if s.Async {
		return "$file-async/" + s.FileID + "/" + rest
	}
	return "$file/" + s.FileID + "/" + rest
}

func (s *Sender) send(ctx context.Context, name, rest string, payload []byte) (*command, error) {
	s.sent++
	return s.commands.send(ctx, name, s.topic(rest), payload, s.Patience)
}

func (s *Sender) do(ctx context.Context, name, rest string, payload []byte) error {
	k, err := s.send(ctx, name, rest, payload)
	if err != nil {
		return err
	}
	return k.wait(ctx)
}

// flight is a segment on its way.
type flight struct {
	*command
	length int64
}

// segments sends what was not acknowledged, in order. The first that fails ends it;
// those behind it, whatever becomes of them, are sent again.
func (s *Sender) segments(ctx context.Context) (err error) {
	var out []flight
	defer func() {
		for _, f := range out {
			_ = f.wait(ctx) // it goes again
		}
	}()
	s.window = max(s.window, 1)
	for at := s.state.Acked; s.state.Acked < s.Size; {
		if at < s.Size && len(out) < s.window {
			f, err := s.segment(ctx, at)
			if err != nil {
				return err
			}
			out = append(out, f)
			at += f.length
			continue
		}
		first := out[0]
		out = out[1:]
		if err := first.wait(ctx); err != nil {
			return err
		}
		s.state.Acked += first.length
		s.window = min(s.window+1, max(s.InFlight, 1))
		s.tell()
		if time.Since(s.saved) > saveEvery {
			s.saved = time.Now()
			s.save()
		}
	}
	return nil
}

// segment sends the one at an offset.
func (s *Sender) segment(ctx context.Context, at int64) (f flight, err error) {
	payload := make([]byte, min(int64(s.Segment), s.Size-at))
	if n, err := s.Content.ReadAt(payload, at); n < len(payload) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return f, fmt.Errorf("read the file: %w; has it been changed?", err)
	}
	rest := strconv.FormatInt(at, 10)
	if s.Checksum {
		sum := sha256.Sum256(payload)
		rest += "/" + hex.EncodeToString(sum[:])
	}
	k, err := s.send(ctx, commandSegment, rest, payload)
	return flight{k, int64(len(payload))}, err
}

func (s *Sender) tell() {
	if s.Progress != nil {
		s.Progress(s.state.Acked, s.Size)
	}
}
