package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ebbgate/ebbgate/internal/partfile"
)

// Download fetches one file of a stream, as a device does, into a file on disk.
// It is written to beside its place, with a note of what is there, so that a
// download which was interrupted goes on where it was; another version of the
// stream begins anew. Set what is exported, then call Run.
type Download struct {
	Client *Client
	Stream string
	File   int
	Path   string        // where the file goes when it is whole
	Block  int           // size of a block
	Blocks int           // that one request asks for
	Wait   time.Duration // for an answer, before it is asked again
	// Progress is told how much is there, as often as something comes; nil: nobody.
	Progress func(done, total int64)
	// Say is told what a person should know; nil: nobody.
	Say func(text string)

	silent int // requests in a row that nothing answered
	state  downloadState
	file   *partfile.File
	anew   bool // what is there is of another stream than is there now
}

// downloadState is what is beside an unfinished file.
type downloadState struct {
	Stream  string `json:"stream"`
	Version int    `json:"version"`
	File    int    `json:"file"`
	Size    int64  `json:"size"`
	Block   int    `json:"block"`
	Have    []byte `json:"have"` // bit j of byte k: block 8k+j is there
}

func (s *downloadState) blocks() int { return int((s.Size + int64(s.Block) - 1) / int64(s.Block)) }
func (s *downloadState) has(n int) bool {
	return s.Have[n/8]&(1<<(n%8)) != 0
}

// length is that of a block; the last one is shorter.
func (s *downloadState) length(n int) int {
	return int(min(int64(s.Block), s.Size-int64(n)*int64(s.Block)))
}

// reaches is how long a file is that has all that is noted.
func (s *downloadState) reaches() (end int64) {
	for n := range s.blocks() {
		if s.has(n) {
			end = int64(n)*int64(s.Block) + int64(s.length(n))
		}
	}
	return end
}

// next lists the first blocks that are missing, within one bitmap's reach.
func (s *downloadState) next(most int) (out []int) {
	for n := range s.blocks() {
		if s.has(n) {
			continue
		}
		if len(out) == most || len(out) > 0 && n-out[0] >= 8*maxBitmap {
			break
		}
		out = append(out, n)
	}
	return out
}

// Result is what was downloaded.
type Result struct {
	Stream  string `json:"stream"`
	Version int    `json:"version"`
	File    int    `json:"file"`
	Size    int64  `json:"size"`
	Path    string `json:"path"`
	SHA256  string `json:"sha256"`
	Resumed int64  `json:"resumed"` // bytes that were there already
}

// saveEvery is how much may come between two notes of what is there: it is fetched
// again after a kill.
const saveEvery = time.Second

// mostRefused is how often a version that was described is tried that is refused then,
// with pauses that get longer.
const (
	mostRefused  = 4
	refusedPause = 500 * time.Millisecond
)

// mostSilent is how many requests in a row may have no answer: nobody delivers files
// there, then; of what has begun to come it is said only.
const mostSilent = 4

// Run downloads until the file is whole or ctx ends. What the broker rejects ends it,
// and silence from the beginning; later silence does not.
func (d *Download) Run(ctx context.Context) (_ *Result, err error) {
	refused := noVersion // and how often it was
	times := 0
	if d.file, err = partfile.Open(d.Path, 0o644); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.file.Close()) }()
	for {
		r, err := d.once(ctx)
		if f, ok := errors.AsType[*Fault](err); !ok || f.Code != VersionMismatch {
			return r, err
		}
		d.anew = true                   // be the version the same: it may have been made anew
		if d.state.Version != refused { // there is a new version: begin anew
			refused, times = d.state.Version, 0
		}
		if times++; times == mostRefused {
			return nil, fmt.Errorf("version %d is what the far side describes, and what it refuses: %w", refused, err)
		}
		moment(ctx, time.Duration(times)*refusedPause)
	}
}

func (d *Download) once(ctx context.Context) (*Result, error) {
	s, err := d.describe(ctx)
	if err != nil {
		return nil, err
	}
	f := s.file(d.File)
	if f == nil {
		return nil, fmt.Errorf("stream %s has no file %d", d.Stream, d.File)
	}
	if err := d.open(s, f); err != nil {
		return nil, err
	}
	resumed := d.done()
	saved := time.Now()
	for {
		want := d.state.next(d.most())
		if len(want) == 0 {
			return d.finish(resumed)
		}
		if err := d.ask(ctx, want); err != nil {
			return nil, errors.Join(err, d.save())
		}
		d.tell()
		if time.Since(saved) > saveEvery {
			saved = time.Now()
			if err := d.save(); err != nil {
				return nil, err
			}
		}
	}
}

// most is how many blocks one request asks for: more would never come.
func (d *Download) most() int { return max(1, min(d.Blocks, maxAnswer/d.Block)) }

// describe asks what the stream is, until there is an answer.
func (d *Download) describe(ctx context.Context) (*Stream, error) {
	for {
		if err := d.Client.await(ctx); err != nil {
			return nil, err
		}
		wait, cancel := context.WithTimeout(ctx, d.Wait)
		s, err := d.Client.Describe(wait, d.Stream)
		cancel()
		pause(ctx, err)
		_, refused := errors.AsType[*Fault](err)
		switch {
		case err == nil:
			d.silent = 0
			return s, nil
		case refused:
			return nil, fmt.Errorf("stream %s: %w", d.Stream, err)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case d.unheard(err) && d.state.Block == 0: // nothing was ever described
			return nil, fmt.Errorf("stream %s: %w to %d requests in %v: are files delivered there (streams.enabled of a gateway, on a listener that is not of profile mqtt), may this client publish to $aws/things/%s/streams/* and receive from it, and can the gateway reach the cloud whose stream it is", d.Stream, ErrSilent, mostSilent, mostSilent*d.Wait, d.Client.thing)
		}
	}
}

// pause waits a moment after an answer that did not come, so that a connection that
// is just ending is not asked again and again.
func pause(ctx context.Context, err error) {
	if _, refused := errors.AsType[*Fault](err); err == nil || refused {
		return
	}
	moment(ctx, 200*time.Millisecond)
}

func moment(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// ask asks for blocks and keeps those that come.
func (d *Download) ask(ctx context.Context, want []int) error {
	if err := d.Client.await(ctx); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, d.Wait)
	defer cancel()
	got, err := d.Client.Blocks(wait, Get{d.Stream, d.state.Version, d.File, d.state.Block, want})
	for n, b := range got {
		if len(b) != d.state.length(n) {
			return fmt.Errorf("block %d has %d bytes, not %d", n, len(b), d.state.length(n))
		}
		if _, err := d.file.WriteAt(b, int64(n)*int64(d.state.Block)); err != nil {
			return err
		}
		d.state.Have[n/8] |= 1 << (n % 8)
	}
	if _, refused := errors.AsType[*Fault](err); refused {
		return fmt.Errorf("stream %s: %w", d.Stream, err)
	}
	if err == nil {
		d.silent = 0
	} else if d.unheard(err) && d.Say != nil {
		d.Say(fmt.Sprintf("nothing answers for %v; it is asked on", mostSilent*d.Wait))
	}
	pause(ctx, err)
	return ctx.Err()
}

// unheard counts a request that nothing answered, and reports whether there were too
// many in a row.
func (d *Download) unheard(err error) bool {
	if !errors.Is(err, ErrSilent) {
		return false
	}
	d.silent++
	return d.silent%mostSilent == 0
}

// open opens what an earlier run has left, or begins anew.
func (d *Download) open(s *Stream, f *File) error {
	fresh := downloadState{Stream: d.Stream, Version: s.Version, File: f.ID, Size: f.Size, Block: d.Block}
	fresh.Have = make([]byte, (fresh.blocks()+7)/8)
	var was downloadState
	same := d.file.Note(&was) && was.Stream == fresh.Stream && was.Version == fresh.Version &&
		was.File == fresh.File && was.Size == fresh.Size && was.Block == fresh.Block && len(was.Have) == len(fresh.Have)
	part, err := d.file.Stat()
	if err != nil {
		return err
	}
	if same && !d.anew && part.Size() <= was.Size && part.Size() >= was.reaches() {
		d.state = was
		return nil
	}
	d.state, d.anew = fresh, false
	return d.file.Begin(&d.state)
}

// save notes what is there, after it is.
func (d *Download) save() error {
	return d.file.Keep(&d.state)
}

func (d *Download) done() (n int64) {
	for i := range d.state.blocks() {
		if d.state.has(i) {
			n += int64(d.state.length(i))
		}
	}
	return n
}

func (d *Download) tell() {
	if d.Progress != nil {
		d.Progress(d.done(), d.state.Size)
	}
}

// finish gives the whole file its name.
func (d *Download) finish(resumed int64) (*Result, error) {
	hash := sha256.New()
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	n, err := io.Copy(hash, d.file)
	if err != nil {
		return nil, err
	}
	if n != d.state.Size {
		return nil, fmt.Errorf("%s has %d bytes, not %d: remove it and begin anew", d.file.Name(), n, d.state.Size)
	}
	if err := d.file.Finish(); err != nil {
		return nil, err
	}
	d.tell()
	return &Result{d.Stream, d.state.Version, d.File, n, d.Path, hex.EncodeToString(hash.Sum(nil)), resumed}, nil
}
