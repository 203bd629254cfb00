package localbroker

// announcements is how many of the broker's own messages may wait.
const announcements = 4096

// announcer publishes the messages that the broker makes itself: lifecycle
// events, and the refusals of services that cannot be reached. One goroutine
// does, in order, so that no connection waits for them; when too many wait, the
// newest are dropped and counted.
type announcer struct {
	broker *Broker
	queue  chan announcement
}

// announcement is a message that is made and published when its turn comes.
type announcement struct {
	client, topic string // for the drop log
	publish       func()
}

// tell queues an announcement and does not block.
func (a *announcer) tell(what announcement) {
	select {
	case a.queue <- what:
	default:
		a.broker.drops.Count("announcements-full", what.client, what.topic)
	}
}

// start publishes until the returned function is called, and then what waits
// still: persistent sessions keep it.
func (a *announcer) start() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case what := <-a.queue:
				a.broker.guard(what.publish)
			case <-end:
				a.rest()
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// rest publishes what waits.
func (a *announcer) rest() {
	for {
		select {
		case what := <-a.queue:
			a.broker.guard(what.publish)
		default:
			return
		}
	}
}
