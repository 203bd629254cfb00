package localbroker

// Held is what a shelf holds for devices.
type Held struct {
	Sessions      int   `json:"sessions"`       // that are kept
	Queued        int   `json:"queued"`         // messages for them and for share groups, one for each receiver
	QueuedBytes   int64 `json:"queued_bytes"`   // as broker.queue_size counts them
	Retained      int   `json:"retained"`       // messages
	RetainedBytes int64 `json:"retained_bytes"` // of their values
	Wills         int   `json:"wills"`          // to be published
}

// Survey counts what a shelf holds. It lists all keys: not for a hot path.
func Survey(s Shelf) (Held, error) {
	var h Held
	count := func(n *int) func(string) bool { return func(string) bool { *n++; return true } }
	if err := s.Keys(shelfSession, "", count(&h.Sessions)); err != nil {
		return h, err
	}
	if err := s.Keys(shelfWill, "", count(&h.Wills)); err != nil {
		return h, err
	}
	if err := s.Keys(shelfQueue, "", func(key string) bool {
		if e, ok := parseEntry(key); ok {
			h.Queued++
			h.QueuedBytes += int64(e.size)
		}
		return true
	}); err != nil {
		return h, err
	}
	var failed error
	err := s.Scan(shelfRetained, "", func(_ string, value []byte) bool {
		h.Retained++
		n := len(value)
		if body, _, shared := decodeReference(value); shared {
			whole, err := s.Get(shelfBody, bodyKey(body))
			if err != nil {
				failed = err
				return false
			}
			n = len(whole)
		}
		h.RetainedBytes += int64(n)
		return true
	})
	if err == nil {
		err = failed
	}
	return h, err
}
