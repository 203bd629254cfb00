package bridge

import "strconv"

// nsPriority keeps with which priority a queue is sent: queue → decimal.
const nsPriority = "priority"

// NotePriorities keeps the priorities of queues, for when no route fills them any more:
// what is left in them goes with what other routes of that priority take of the same
// devices, in the order of acceptance.
func NotePriorities(spool Spool, of map[string]int) error {
	var b Batch
	for queue, n := range of {
		switch last, known, err := PriorityOf(spool, queue); {
		case err != nil:
			return err
		case known && last == n:
			continue
		}
		b.Put(nsPriority, queue, strconv.AppendInt(nil, int64(n), 10))
		if len(b.Puts) >= putsAtOnce {
			if err := written(spool, &b); err != nil {
				return err
			}
		}
	}
	return written(spool, &b)
}

// PriorityOf is the priority with which a queue was sent last; false when that is not
// known.
func PriorityOf(spool Spool, queue string) (n int, known bool, err error) {
	v, err := spool.Get(nsPriority, queue)
	if err != nil || v == nil {
		return 0, false, err
	}
	n, bad := strconv.Atoi(string(v))
	return n, bad == nil, nil
}
