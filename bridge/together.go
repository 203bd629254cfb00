package bridge

// together puts what is said of queues before what keyOf says of their messages.
func together(queues []QueueRef, keyOf func(*Stored) string) func(*Stored) string {
	keys := map[string]string{}
	for _, q := range queues {
		if q.Together != "" {
			keys[q.Name] = "\x00" + q.Together // no device has such a name
		}
	}
	if len(keys) == 0 {
		return keyOf
	}
	return func(s *Stored) string {
		if key, ok := keys[s.Receiver.Queue]; ok {
			return key
		}
		return keyOf(s)
	}
}

// Key is what deliveries have in common whose order is to be kept.
func (d *Delivery) Key() string {
	if d.Together != "" {
		return d.Together
	}
	return d.Device
}
