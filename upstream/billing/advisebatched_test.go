package billing

import (
	"fmt"
	"testing"
	"time"
)

// batchedTopics are half an hour of a route that makes a batch of each topic at each age, as it is
// recorded: each batch waits for the next message a little longer.
func batchedTopics(topics int, age, gap time.Duration) Traffic {
	tr := Traffic{Route: "telemetry", Topic: "dt/line", Days: 1, Hours: 1, ahead: 30 * time.Minute}
	for i := range topics {
		tr.Sizes.Named(fmt.Sprintf("dt/line/machine-%d/values", i))
	}
	for range topics * int(30*time.Minute/(age+gap)) {
		tr.Sizes.Add(1200, 30, 25, false)
	}
	return tr
}

// What a route has batched for its age costs what it costs, however many topics there were:
// they are told to a few percent only, and with fewer of them two batches would be one.
func TestWhatIsBatchedForItsAgeStaysSo(t *testing.T) {
	for _, age := range []time.Duration{10 * time.Second, time.Minute} {
		for _, gap := range []time.Duration{20 * time.Millisecond, 500 * time.Millisecond} {
			for _, topics := range []int{1, 2, 20, 287, 453, 709, 1387, 2168, 4000} {
				f := oneRoute(batchedTopics(topics, age, gap))
				f.Span = 30 * time.Minute
				b, _ := BatchFormat("json", 0)
				b.Limit, b.Age = DefaultUnit, age
				f.Routes = map[string]Does{"telemetry": {Batch: b}}
				now, _ := f.Cost(f.Plan(nil))
				if got, _ := f.Cost(f.Taken()); got.Rat().Cmp(now.Rat()) != 0 {
					t.Errorf("%d topics, batches of %v and %v more: $%s a month as the configuration does it, and it cost $%s", topics, age, gap, got, now)
				}
			}
		}
	}
}
