package scenario

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// step gives the route a step that needs a raw queue, or takes it away, and tells the
// gateway, or kills it and starts it with that.
func (m *movers) step(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	const plain, split = `topic: "${topic}"}`, `topic: "${topic}", split: 64KiB}`
	if m.own = !m.own; m.own {
		m.edit(replace(plain, split))
	} else {
		m.edit(replace(split, plain))
	}
	if rnd.IntN(4) == 0 {
		m.kill()
		m.start()
	} else {
		m.signal(syscall.SIGHUP)
	}
}

// TestStepsComeAndGoAtAReload gives a route a step that needs a raw queue and takes it
// away again, at reloads that follow each other closely and at kills, under load, with
// the cloud there and away: nothing is lost and each device stays in order.
func TestStepsComeAndGoAtAReload(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	m := newMovers(t, "")
	for range scaled(60, 8) {
		if rnd.IntN(3) == 0 {
			m.proxy.Cut()
		} else {
			m.proxy.Restore()
		}
		pass(t, time.Duration(rnd.IntN(600))*time.Millisecond)
		m.step(t, rnd)
	}
	m.proxy.Restore()
	pass(t, time.Second)
	m.fleet.stop()
	m.arrive(t)
	if code := m.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
