package localbroker

import (
	"cmp"
	"slices"

	"github.com/ebbgate/ebbgate/localbroker/rest"
)

// page lists the retained messages of the most topics that come next after one,
// in the order of bytes, and whether there are more. It looks at all of them
// and keeps the lowest: twice a page at a time, sorted when that is full.
func (r *retained) page(after string, most int) (list []*rest.Retained, more bool) {
	byTopic := func(a, b retainedMessage) int { return cmp.Compare(a.msg.Topic, b.msg.Topic) }
	lowest := make([]retainedMessage, 0, 2*(most+1))
	highest := "" // what comes behind it is of no use; empty: not known yet
	now := r.shelf.Age()
	r.mu.RLock()
	for topic, k := range r.byTopic {
		if topic <= after || highest != "" && topic > highest || !k.live(now) {
			continue
		}
		if lowest = append(lowest, k); len(lowest) == cap(lowest) {
			slices.SortFunc(lowest, byTopic)
			clear(lowest[most+1:])
			lowest = lowest[:most+1]
			highest = lowest[most].msg.Topic
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(lowest, byTopic)
	more = len(lowest) > most
	list = make([]*rest.Retained, min(len(lowest), most))
	for i := range list {
		m := lowest[i].msg
		list[i] = &rest.Retained{Topic: m.Topic, Size: len(m.Payload), QoS: m.QoS, Modified: lowest[i].modified}
	}
	return list, more
}
