package localbroker

import (
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// Shelf is where the broker keeps what must outlive it: sessions with their
// queues, retained messages, wills. It is the part of [bridge.Spool] that the
// broker uses; what the methods promise stands there. Get tells damage from
// absence; Scan passes over a value that is damaged, of which Keys has the key.
type Shelf interface {
	Commit(b *bridge.Batch, done func(bridge.Seq, error))
	Get(namespace, key string) ([]byte, error)
	Scan(namespace, prefix string, fn func(key string, value []byte) bool) error
	Keys(namespace, prefix string, fn func(key string) bool) error
	Forget(namespace string, keys ...string)
	Age() time.Duration
}

// The namespaces of the shelf. The values are versioned by their first byte.
const (
	shelfSession  = bridge.ShelfPrefix + "session"  // client id: a session, see sessionRecord
	shelfQueue    = bridge.ShelfPrefix + "queue"    // entry.key: what is the entry's own, see appendKept
	shelfBody     = bridge.ShelfPrefix + "body"     // 8 bytes: a message that several entries share
	shelfReceived = bridge.ShelfPrefix + "received" // 8 bytes of a session, 2 of a packet id: see receptions
	shelfGroup    = bridge.ShelfPrefix + "group"    // filter with $share: the number of its queue
	shelfRetained = bridge.ShelfPrefix + "retained" // topic: its message
	shelfWill     = bridge.ShelfPrefix + "will"     // 8 bytes: a testament
	shelfNumbers  = bridge.ShelfPrefix + "numbers"  // "next": from where the next start counts
)
