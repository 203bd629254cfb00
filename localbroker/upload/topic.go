package upload

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// The roots of the protocol's topics.
const (
	rootSync     = "$file/"
	rootAsync    = "$file-async/"
	rootResponse = "$file-response/"
)

// verb is what a command asks for.
type verb byte

const (
	verbInit verb = iota + 1
	verbSegment
	verbFin
	verbAbort
)

// command is the topic of a command taken apart.
type command struct {
	async  bool
	fileID string
	verb   verb
	offset int64     // of a segment
	size   int64     // of the file, in fin
	sum    *checksum // nil: none was given
}

// checksum is a SHA-256.
type checksum [32]byte

func (c *checksum) String() string { return hex.EncodeToString(c[:]) }

// maxNumber bounds offsets and sizes: beyond it not even JSON carries a number.
const maxNumber = 1 << 53

// parseTopic takes a topic apart, in EMQX's order: what is no init, fin with a
// size or abort is an offset, so that "fin" alone is a bad offset.
func parseTopic(topic string) (c command, err error) {
	rest, ok := strings.CutPrefix(topic, rootSync)
	if !ok {
		if rest, ok = strings.CutPrefix(topic, rootAsync); !ok {
			return c, errTopic
		}
		c.async = true
	}
	levels := strings.SplitN(rest, "/", 5)
	c.fileID, levels = levels[0], levels[1:]
	switch {
	case c.fileID == "":
		return c, errFileID
	case !fits(c.fileID):
		return c, errNameTooLong
	case len(levels) == 1 && levels[0] == "init":
		c.verb = verbInit
	case len(levels) == 1 && levels[0] == "abort":
		c.verb = verbAbort
	case (len(levels) == 2 || len(levels) == 3) && levels[0] == "fin":
		c.verb = verbFin
		if c.size, ok = parseNumber(levels[1]); !ok {
			return c, errSize
		}
		return c, c.takeChecksum(levels[2:])
	case len(levels) == 1 || len(levels) == 2:
		c.verb = verbSegment
		if c.offset, ok = parseNumber(levels[0]); !ok {
			return c, errOffset
		}
		return c, c.takeChecksum(levels[1:])
	default:
		return c, errCommand
	}
	return c, nil
}

func (c *command) takeChecksum(levels []string) error {
	if len(levels) == 0 {
		return nil
	}
	sum, ok := parseChecksum(levels[0])
	if !ok {
		return errChecksum
	}
	c.sum = sum
	return nil
}

// parseNumber takes digits only: EMQX's signed numbers mean nothing.
func parseNumber(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n <= maxNumber
}

// parseChecksum takes 64 hex digits of any case.
func parseChecksum(s string) (*checksum, bool) {
	var sum checksum
	if len(s) != 2*len(sum) {
		return nil, false
	}
	if _, err := hex.Decode(sum[:], []byte(s)); err != nil {
		return nil, false
	}
	return &sum, true
}
