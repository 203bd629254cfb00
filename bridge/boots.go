package bridge

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// nsBoots holds the starts of the gateway: boot id, 16 hex digits → age and wall
// clock in ns, 8 bytes each, and 1 if that was synchronised. A message id begins
// with the boot that gave it.
const nsBoots = "boots"

// maxBoots is how many starts are remembered: a gateway that restarts each hour
// knows those of six weeks.
const maxBoots = 1000

// Note writes the start of the gateway into the spool, and forgets the oldest
// beyond a bound.
func (c *Clock) Note(spool Spool) error {
	var b Batch
	oldest, least, n := "", uint64(0), 0
	err := spool.Scan(nsBoots, "", func(key string, value []byte) bool {
		if len(value) >= 8 {
			if age := binary.BigEndian.Uint64(value); n == 0 || age < least {
				oldest, least = key, age
			}
		}
		n++
		return true
	})
	if err != nil {
		return fmt.Errorf("read the starts of the gateway: %w", err)
	}
	if n >= maxBoots && oldest != "" {
		b.Put(nsBoots, oldest, nil)
	}
	now := c.Now()
	v := binary.BigEndian.AppendUint64(nil, uint64(now.Age))
	v = binary.BigEndian.AppendUint64(v, uint64(now.Wall.UnixNano()))
	if now.Synced {
		v = append(v, 1)
	}
	b.Put(nsBoots, fmt.Sprintf("%016x", c.boot), v)
	end := make(chan error, 1)
	spool.Commit(&b, func(_ Seq, err error) { end <- err })
	return <-end
}

// Birth is what a message id tells of itself.
type Birth struct {
	Number  uint64    // the how manieth id of its start
	Known   bool      // this gateway started so, as far as it remembers
	Started time.Time // when
	Synced  bool      // the clock was synchronised then
}

// BirthOf reads in the spool which start of the gateway gave an id.
func BirthOf(spool Spool, id MessageID) (Birth, error) {
	b := Birth{Number: binary.BigEndian.Uint64(id[8:])}
	v, err := spool.Get(nsBoots, hex.EncodeToString(id[:8]))
	if err != nil || len(v) < 16 {
		return b, err
	}
	b.Known, b.Synced = true, len(v) > 16
	b.Started = time.Unix(0, int64(binary.BigEndian.Uint64(v[8:]))).UTC()
	return b, nil
}

// ParseMessageID reads what [MessageID.String] writes.
func ParseMessageID(text string) (id MessageID, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is not a message id: it has 32 hexadecimal digits, as ebbgate spool ls --json and the user property %s show it", text, PropID)
	}
	copy(id[:], b)
	return id, nil
}
