package shape

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/rules/payload"
)

// averageOf is what a window tells of readings of v, which are summed up in parts of so
// many, each written and read again.
func averageOf(t *testing.T, part int, values ...string) (avg, least, most float64) {
	t.Helper()
	field, err := payload.ParseField("v")
	if err != nil {
		t.Fatal(err)
	}
	all, open := &aggregate{}, &aggregate{}
	fold := func() {
		if open.Count == 0 {
			return
		}
		open.End = open.Start + 1
		back, err := decodeAggregate(open.encode())
		if err != nil {
			t.Fatal(err)
		}
		all.merge(back)
		open = &aggregate{}
	}
	for i, v := range values {
		if i%part == 0 {
			fold()
		}
		var read any
		if err := json.Unmarshal([]byte(`{"v":`+v+`}`), &read); err != nil {
			t.Fatal(err)
		}
		open.add(&bridge.Record{}, []payload.Field{field}, read)
	}
	fold()
	var out summary
	if err := json.Unmarshal(all.report(nil), &out); err != nil {
		t.Fatal(err)
	}
	f := out.Fields["v"]
	return f["avg"], f["min"], f["max"]
}

// A sensor that stands still has no average of its own: what it says all the time is it.
func TestAverageOfReadingsThatStayTheSame(t *testing.T) {
	for _, c := range []struct {
		value string
		times int
	}{{"0.1", 10}, {"21.3", 60}, {"0.7", 33}, {"-17.9", 3600}, {"1e-300", 7}, {"8e307", 3}} {
		values := make([]string, c.times)
		for i := range values {
			values[i] = c.value
		}
		want, err := strconv.ParseFloat(c.value, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := averageOf(t, 256, values...); got != want {
			t.Errorf("%d times %s: %v on average", c.times, c.value, got)
		}
	}
}

// The average of readings with one decimal is the number next to the true one, and lies
// between them, in however many parts a window is summed up.
func TestAverageIsTheNearestNumber(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 14))
	for range 500 {
		sum := new(big.Rat)
		var values []string
		for range 1 + dice.IntN(400) {
			n := dice.IntN(2000) - 500
			value := fmt.Sprintf("%.1f", float64(n)/10)
			read, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum.Add(sum, new(big.Rat).SetFloat64(read))
			values = append(values, value)
		}
		want, _ := sum.Quo(sum, big.NewRat(int64(len(values)), 1)).Float64()
		got, least, most := averageOf(t, 1+dice.IntN(256), values...)
		if got != want || got < least || got > most {
			t.Fatalf("%d readings: %v, want %v, between %v and %v: %v", len(values), got, want, least, most, values)
		}
	}
}
