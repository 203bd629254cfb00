package filetransfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// checked is the file id that a check gives up. Files have others: theirs end in a
// hash.
const checked = "ebbgate-check"

// checkPatience is how long the answer to a check is awaited.
const checkPatience = 10 * time.Second

// Check finds out whether the other side takes files, and leaves nothing there: it
// gives up a file that there is none of, which is answered as every command is. The
// link is connected. An error of kind bridge.Unavailable is that of the way there,
// others are of the other side.
func (t *Target) Check(ctx context.Context) error {
	for _, family := range []string{"$file", "$file-async"} {
		if err := t.checkFamily(ctx, family); err != nil {
			return err
		}
	}
	return nil
}

func (t *Target) checkFamily(ctx context.Context, family string) error {
	err := t.do(ctx, family+"/"+checked+"/abort", nil, checkPatience)
	said, refused := errors.AsType[*refusal](err)
	const remedy = "enable file transfer there"
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case refused && said.code == noSubscribers:
		return t.fault(bridge.TopicInvalid, fmt.Errorf("it does not know %s/…: %s", family, remedy))
	case refused && said.code == codeDenied:
		return t.fault(bridge.NotAuthorized, fmt.Errorf("%w to publish to %s/…: allow %[3]s $file/# and $file-async/#", said, family, t.link.ClientID()))
	case refused && said.code == codeQuota:
		return t.fault(bridge.Full, fmt.Errorf("%w: it has no room for files now: make some", said))
	case refused:
		return t.fault(bridge.TopicInvalid, fmt.Errorf("%w: %s, or look what it is", said, remedy))
	case errors.Is(err, errSilent):
		return t.fault(bridge.TopicInvalid, fmt.Errorf("it takes %s/… as any message and does not answer: %s, and allow %s to subscribe to %s", family, remedy, t.link.ClientID(), ResponseFilter(t.link.ClientID())))
	case errors.Is(err, errDown):
		return t.fault(bridge.NotAuthorized, fmt.Errorf("it ended the connection at %s/…, as one that denies it does: %s, and allow %s to publish to $file/# and $file-async/#", family, remedy, t.link.ClientID()))
	}
	return t.fault(bridge.Unavailable, err)
}
