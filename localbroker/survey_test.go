package localbroker

import "testing"

// TestSurvey: what is on the shelf is counted, a large retained message with the
// body that it shares.
func TestSurvey(t *testing.T) {
	c := &clock{}
	disk := newDisk(c)
	h := disk.house(t, c, plain(profileMQTT))
	for _, id := range []string{"a", "b"} {
		d := h.join(5, id, persistent(600))
		d.subscribe(1, "t")
		h.leave(d, id)
	}
	pub := h.join(5, "pub")
	large := string(make([]byte, 2*retainedWhole))
	pub.send(publish(1, "t", large, retain))
	pub.answered(0)
	pub.send(publish(2, "small", "x", retain))
	pub.answered(0)
	got, err := Survey(disk)
	if err != nil {
		t.Fatal(err)
	}
	bytes := got.RetainedBytes
	got.RetainedBytes = 0
	want := Held{Sessions: 2, Queued: 2, QueuedBytes: int64(2 * (len(large) + 1 + deliveryOverhead)), Retained: 2}
	if got != want || bytes < int64(len(large)) || bytes > int64(len(large))+100 {
		t.Errorf("%+v and %d bytes retained, want %+v", got, bytes, want)
	}
}
