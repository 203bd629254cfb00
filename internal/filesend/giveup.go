package filesend

import (
	"context"
	"errors"
	"time"
)

// ErrChanged is that the content is not what it was.
var ErrChanged = errors.New("the file was changed while it was sent")

// unchanged makes sure that what was sent is what was to be sent.
func (s *Sender) unchanged(ctx context.Context, closely bool) error {
	if s.Still == nil {
		return nil
	}
	still, err := s.Still(ctx, closely)
	if err == nil && !still {
		err = ErrChanged
	}
	return err
}

// abortPatience is how long it is tried to tell the far side that nothing more comes.
const abortPatience = 10 * time.Second

// end gives a transfer up that can never be finished. One whose init is refused is
// another's, or an earlier one of this id with other metadata: that is left alone. A
// policy that is changed, or smaller segments, let it go on.
func (s *Sender) end(ctx context.Context, err error) {
	said, refused := errors.AsType[*Refused](err)
	switch {
	case errors.Is(err, ErrChanged):
	case !refused || !said.Final() || said.Denied() || said.TooLarge():
		return
	case !s.begun:
		_ = s.forget()
		return
	case said.Command == commandInit:
		return
	}
	s.giveUp(ctx)
}

// giveUp has the far side forget what it has of the file.
func (s *Sender) giveUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, abortPatience)
	defer cancel()
	if err := s.do(ctx, commandAbort, commandAbort, nil); err != nil {
		s.say("what the far side has of it stays there until it expires: " + err.Error())
	}
	_ = s.forget() // the note is of no use, and does no harm
}
