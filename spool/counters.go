package spool

import "github.com/dgraph-io/badger/v4"

// counters are those that commits have changed lately, with what they are now: a
// release changes the same few hundred again and again, and Badger would have to look
// for each in its tables. Nobody but the state keeper writes what [bridge.Batch] keeps.
type counters map[string]int64

// mostCounters bounds them: a thousand series in turn. With more they are forgotten again
// and again, and are looked for as if there were none here. Keys have some hundred bytes.
const mostCounters = 4096

// get tells a counter by its key in the state, with what txn has written.
func (c counters) get(txn *badger.Txn, key string) (int64, error) {
	if n, ok := c[key]; ok {
		return n, nil
	}
	v, err := getValue(txn, []byte(key))
	return counter(v), err
}

// took takes the end of a commit that was to set some. What a failed one has left
// nobody knows.
func (c counters) took(set map[string]int64, err error) {
	if err != nil || len(c)+len(set) > mostCounters {
		clear(c)
	}
	if err != nil || len(set) > mostCounters {
		return
	}
	for key, n := range set {
		c[key] = n
	}
}
