package filetransfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Deps are what a Target works with. All are required.
type Deps struct {
	Gateway string // what this gateway is called
	Link    Link
	Shelf   Shelf
	Pace    bridge.FilePace
	Log     *slog.Logger
}

// Target is a bridge.FileTarget that sends files on by EMQX's file transfer.
type Target struct {
	name     string
	gateway  string
	link     Link
	shelf    Shelf
	pace     bridge.FilePace
	log      *slog.Logger
	commands *commands

	mu     sync.Mutex
	pieces pieces // what the last file has learnt
}

var _ bridge.FileTarget = (*Target)(nil)

// New makes the target that an upstream's name stands for.
func New(o Options, deps Deps) *Target {
	return &Target{
		name: o.Upstream, gateway: deps.Gateway, link: deps.Link, shelf: deps.Shelf, pace: deps.Pace,
		log: deps.Log.With("upstream", o.Upstream), commands: newCommands(deps.Link), pieces: newPieces(),
	}
}

// Heard takes a message that came on the connection, and reports whether it was the
// response to a command.
func (t *Target) Heard(m *bridge.Message) bool { return t.commands.heard(m) }

// How long answers are awaited: that to a segment on a thin line, behind three
// others; that to fin while the other side puts the file together, after which it is
// asked again and joins what goes on.
const (
	patience    = time.Minute
	finPatience = 5 * time.Minute
)

// mostRounds is how often a file is sent anew before the next attempt.
const mostRounds = 3

// Put implements bridge.FileTarget. It returns once the other side has the file,
// whole and compared. The place is upstream/client id/file id/name.
func (t *Target) Put(ctx context.Context, f *bridge.File) (string, error) {
	if t.link.Down() == nil {
		return "", t.fault(bridge.Unavailable, errors.New("there is no connection now"))
	}
	p := t.progressOf(f)
	var err error
	for range mostRounds {
		id := remoteID(f, p.Round)
		if err = t.send(ctx, f, p, id); err == nil {
			p.Whole = true
			t.keep(p)
			return t.name + "/" + t.link.ClientID() + "/" + id + "/" + f.Name, nil
		}
		said, ok := errors.AsType[*refusal](err)
		if !ok || !t.again(f, p, said) {
			break
		}
		t.log.Info("a file begins anew at the upstream", "client", f.ClientID, "file", f.FileID, "said", said.Error())
	}
	return "", t.explain(ctx, f, err)
}

// send sends what the other side does not have yet.
func (t *Target) send(ctx context.Context, f *bridge.File, p *progress, id string) error {
	if p.Taken == f.Size && f.Size > 0 { // an earlier attempt came as far as fin
		err := t.fin(ctx, f, id)
		if said, ok := errors.AsType[*refusal](err); !ok || said.word != wordIncomplete {
			return err
		}
		t.anew(p, false)
	}
	payload, err := initOf(t.gateway, f)
	if err != nil {
		return err
	}
	if err := t.pace.Wait(ctx, len(payload)); err != nil {
		return err
	}
	if err := t.do(ctx, "$file/"+id+"/init", payload, patience); err != nil {
		if said, ok := errors.AsType[*refusal](err); ok && said.code == noSubscribers {
			return t.fault(bridge.Unavailable, errors.New("nobody takes $file/…/init there: enable its file transfer"))
		}
		return err
	}
	if err := t.segments(ctx, f, p, id); err != nil {
		return err
	}
	return t.fin(ctx, f, id)
}

// fin asks the other side to put the file together. It is asynchronous: a large
// file's PUBACK would come so late that the connection were taken for dead.
func (t *Target) fin(ctx context.Context, f *bridge.File, id string) error {
	topic := "$file-async/" + id + "/fin/" + strconv.FormatInt(f.Size, 10) + "/" + hex.EncodeToString(f.SHA256[:])
	return t.do(ctx, topic, nil, finPatience)
}

// do sends a command and awaits its answer.
func (t *Target) do(ctx context.Context, topic string, payload []byte, patience time.Duration) error {
	k, err := t.commands.send(ctx, topic, payload)
	if err != nil {
		return err
	}
	return k.wait(ctx, patience)
}

// abort tells the other side that nothing more comes, without minding its answer.
func (t *Target) abort(ctx context.Context, id string) {
	if t.link.Down() == nil {
		return
	}
	if err := t.do(ctx, "$file/"+id+"/abort", nil, patience); err != nil {
		t.log.Info("the upstream was not told that a file is given up; it forgets it by itself", "file", id, "error", err)
	}
}

// The words that say what to do; others are told to people only.
const (
	wordIncomplete = "incomplete"        // it has forgotten something
	wordConflict   = "filemeta_conflict" // the id is in use for something else
	wordMismatch   = "checksum_mismatch"
	wordInternal   = "internal_error" // EMQX's word for a mismatch of the whole
)

// again decides whether what was said means that it is all to be sent anew, and
// prepares that.
func (t *Target) again(f *bridge.File, p *progress, said *refusal) bool {
	switch {
	case said.word == wordIncomplete || said.code == noSubscribers:
		t.anew(p, false)
	case said.word == wordConflict:
		t.anew(p, true)
	case said.word == wordMismatch || said.word == wordInternal:
		if !intact(f) {
			return false
		}
		t.anew(p, true)
	default:
		return false
	}
	return true
}

// intact reports whether a file's content is what was verified.
func intact(f *bridge.File) bool {
	h := sha256.New()
	n, err := io.Copy(h, f.Compared(context.Background(), 0, f.Size))
	return err == nil && n == f.Size && [32]byte(h.Sum(nil)) == f.SHA256
}

// explain says of an error whose it is: the file's, the other side's, or the way's.
func (t *Target) explain(ctx context.Context, f *bridge.File, err error) error {
	said, refused := errors.AsType[*refusal](err)
	_, known := errors.AsType[*bridge.Error](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case known || errors.Is(err, bridge.ErrHeld):
		return err
	case errors.Is(err, errSilent):
		return t.fault(bridge.Unavailable, fmt.Errorf("%w: is file transfer enabled there, and may %s subscribe to its responses?", err, t.link.ClientID()))
	case !refused:
		return t.fault(bridge.Unavailable, err)
	}
	return t.fault(t.kindOf(f, said), said)
}

// kindOf says what a refusal means: PUBACK codes first, where they say more than
// that it failed, and the words of those who say no more.
func (t *Target) kindOf(f *bridge.File, said *refusal) bridge.Kind {
	switch said.code {
	case codeGiveUp, codeTooLarge:
		return bridge.TooLarge
	case codeDenied:
		return bridge.NotAuthorized
	case codeQuota:
		return bridge.Full
	case codeTopic, codePayload:
		return bridge.PayloadInvalid
	}
	switch said.word {
	case "efbig", "enametoolong":
		return bridge.TooLarge
	case "invalid_filemeta", "invalid_filemeta_json", "invalid_fileid", "invalid_topic", "invalid_file_command", "checksum_required":
		return bridge.PayloadInvalid
	case "enospc", "edquot", "eacces", "erofs":
		return bridge.Full
	case wordMismatch, wordInternal:
		if !intact(f) {
			return bridge.Corrupt
		}
	}
	return bridge.Internal // it may be the file, or not
}

// The reason codes of PUBACKs that say what to do.
const (
	codeGiveUp   = 0x83
	codeDenied   = 0x87
	codeTopic    = 0x90
	codeTooLarge = 0x95
	codeQuota    = 0x97
	codePayload  = 0x99
)

func (t *Target) fault(k bridge.Kind, err error) error {
	return bridge.Errorf(bridge.OpExport, k, "upstream %s: %w", t.name, err)
}

// Remove implements bridge.FileTarget: EMQX has no command for it.
func (t *Target) Remove(context.Context, string) error {
	return t.fault(bridge.Unavailable, fmt.Errorf("files that were sent on cannot be removed from here: %w", errors.ErrUnsupported))
}

// Open implements bridge.FileTarget: nothing is kept here.
func (t *Target) Open(_ context.Context, place string) (io.ReadCloser, error) {
	return nil, t.fault(bridge.Unavailable, fmt.Errorf("%s was sent on and is not kept here: %w", cmp.Or(place, "the file"), errors.ErrUnsupported))
}
