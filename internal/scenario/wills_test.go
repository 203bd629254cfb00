package scenario

import (
	"fmt"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// TestWillsAndGroupsSurviveAKill: the will of each device that was connected is
// published once by the next start, that of one which said goodbye is not, and
// what waits for a share group goes to the first member that comes (B166, B178).
func TestWillsAndGroupsSurviveAKill(t *testing.T) {
	t.Parallel()
	const devices, messages = 5, 50
	g := local(t)
	g.start()
	watcher := join(t, g.Listen, "watcher", false)
	watcher.subscribe("gone/+")
	member := join(t, g.Listen, "member", false)
	member.subscribe("$share/workers/jobs")
	member.leave()
	will := func(id string) func(*packets.ConnectPacket) {
		return func(pk *packets.ConnectPacket) {
			pk.WillFlag, pk.WillQos, pk.WillTopic, pk.WillMessage = true, 1, "gone/"+id, []byte(id)
		}
	}
	for i := range devices {
		id := fmt.Sprintf("device-%d", i)
		join(t, g.Listen, id, i%2 == 0, will(id))
	}
	join(t, g.Listen, "polite", true, will("polite")).leave()
	letters := make([]letter, messages)
	for i := range letters {
		letters[i] = letter{topic: "jobs", payload: fmt.Sprint(i)}
	}
	if err := join(t, g.Listen, "publisher", true).publishAll(letters); err != nil {
		t.Fatal(err)
	}
	g.kill()
	g.start()
	watcher = join(t, g.Listen, "watcher", false)
	wills := map[string]bool{}
	for range devices {
		wills[string(watcher.take().Payload)] = true
	}
	if len(wills) != devices || wills["polite"] {
		t.Errorf("wills of %v", wills)
	}
	watcher.quiet()
	member = join(t, g.Listen, "member", false)
	for i := range messages {
		if got := string(member.take().Payload); got != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got)
		}
	}
	member.quiet()
	watcher.leave()
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	g.start()
	watcher = join(t, g.Listen, "watcher", false)
	watcher.quiet()
}
