package delivery

import (
	"errors"
	"time"
)

// refusal is why no part of a file is asked of the cloud for a while: it has answered,
// and will say the same until somebody mends it there.
type refusal struct {
	err   error
	until time.Time
}

// Bounds of refusals: how long one holds, how long one that may pass, and how many.
const (
	refusedFor  = time.Minute
	troubledFor = 10 * time.Second
	maxRefusals = 1000
)

// ofFile is the key of all chunks of a file.
func (k chunkKey) ofFile() chunkKey {
	k.number = -1
	return k
}

// refusedLocked is why a chunk is not asked for now, nil when it is.
func (c *Cloud) refusedLocked(k chunkKey) error {
	r, there := c.refusals[k.ofFile()]
	if !there || time.Now().After(r.until) {
		return nil
	}
	return r.err
}

// judge takes what came of asking for a chunk, and returns what those who wait for it
// hear: the cloud's own word, as AWS would tell them, when it is about the file.
func (c *Cloud) judge(key chunkKey, s *Stream, err error) error {
	hold, heard, later := refusedFor, err, err
	switch f, is := errors.AsType[*Fault](err); {
	case err == nil, !is && !errors.Is(err, errLength):
		return err // had, or not answered
	case !is: // the description may be an old one
		heard, later = errAway, faultf(InternalError, "the cloud sends another length of file %d than it describes", key.file)
	case f.Code == VersionMismatch:
		heard, later = errVersion, errVersion
	case f.Code == ResourceNotFound, f.Code == ETagMismatch, f.Code == Unauthorized:
	case f.Code == InvalidRequest: // it has less than it described
		heard, later = errAway, faultf(InternalError, "the cloud refuses parts of file %d that it describes", key.file)
	default: // it may pass
		hold, heard, later = troubledFor, errAway, errAway
	}
	c.log.Warn("the cloud refuses a part of a stream; it is asked again in a while", "stream", key.stream, "version", key.version, "file", key.file, "chunk", key.number, "in", hold, "error", err)
	c.stale(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if len(c.refusals) >= maxRefusals {
		for k, r := range c.refusals {
			if now.After(r.until) {
				delete(c.refusals, k)
			}
		}
	}
	if len(c.refusals) >= maxRefusals {
		clear(c.refusals)
	}
	c.refusals[key.ofFile()] = refusal{later, now.Add(hold)}
	return heard
}
