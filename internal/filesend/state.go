package filesend

import (
	"encoding/json"
	"errors"
	"os"
)

// state is what is noted beside a file that is being sent, for a later run.
type state struct {
	ClientID string `json:"client_id"`
	FileID   string `json:"file_id"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	Acked    int64  `json:"acknowledged"`        // all bytes before it
	ExpireAt int64  `json:"expire_at,omitempty"` // as init has said it: another would contradict that
}

// resume takes over what an earlier run has noted, if it was about this very
// transfer.
func (s *Sender) resume() {
	fresh := state{ClientID: s.ClientID, FileID: s.FileID, Size: s.Size, SHA256: s.sum(), ExpireAt: s.Meta.ExpireAt}
	s.state = fresh
	b, err := os.ReadFile(s.StatePath)
	if s.StatePath == "" || err != nil {
		return
	}
	var was state
	if json.Unmarshal(b, &was) != nil || was.Acked < 0 || was.Acked > s.Size {
		return
	}
	if fresh.Acked = was.Acked; fresh.ExpireAt != 0 && was.ExpireAt != 0 {
		fresh.ExpireAt = was.ExpireAt
	}
	if was == fresh {
		s.state, s.Meta.ExpireAt = was, was.ExpireAt
	}
}

// save notes how far it is. That it cannot be noted costs a later run some bytes
// that go twice, and is said once.
func (s *Sender) save() {
	if s.StatePath == "" || s.unnoted {
		return
	}
	b, err := json.Marshal(&s.state)
	if err == nil {
		err = writeWhole(s.StatePath, b)
	}
	if err != nil {
		s.unnoted = true
		s.say("it cannot be noted how far it is, so that another run would begin anew: " + err.Error())
	}
}

// writeWhole makes a file that is there whole, or as it was.
func writeWhole(path string, content []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// forget removes the note.
func (s *Sender) forget() error {
	if s.StatePath == "" {
		return nil
	}
	if err := os.Remove(s.StatePath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
