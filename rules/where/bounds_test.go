package where

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// large is a message of a device that means harm: a long text, a long list, and a
// pattern of its own.
func large(text, items int, pattern string) Message {
	m := &bridge.Message{Topic: "dt/press-7/state", Payload: fmt.Appendf(nil, `{"text":%q,"list":[%s0],"pattern":%q}`,
		strings.Repeat("a", text), strings.Repeat("0,", items), pattern)}
	return Message{Message: m, ClientID: "press-7"}
}

// What one message can cost is bounded by what is done, and a message above it is
// undecided: by one call that takes long, and by a loop of calls that look cheap.
// No clock decides.
func TestCostlyConditions(t *testing.T) {
	for text, m := range map[string]Message{
		`payload.text.matches("(.{1,999})x")`:                                 large(30_000, 0, ""),
		`payload.text.matches("a")`:                                           large(1<<20, 0, ""),
		`payload.text.matches(payload.pattern)`:                               large(30_000, 0, "(.{1,999})x"),
		`topic.matches(payload.pattern)`:                                      large(0, 0, strings.Repeat("a", maxPattern+1)),
		`payload.list.all(x, payload.text.matches("a"))`:                      large(2000, 2000, ""),
		`payload.list.all(x, payload.list == payload.list)`:                   large(0, 2000, ""),
		`payload.list.all(x, !(payload != payload))`:                          large(0, 2000, ""),
		`payload.list.all(x, size(payload.text) > 5)`:                         large(20_000, 2000, ""),
		`payload.list.all(x, payload.text >= payload.text)`:                   large(20_000, 2000, ""),
		`payload.list.all(x, payload.text == payload.text)`:                   large(20_000, 2000, ""),
		`payload.list.all(x, x in payload.list)`:                              large(0, 5000, ""),
		`payload.list.all(x, payload.list.all(y, payload.list.all(z, x==z)))`: large(0, 100, ""),
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.Holds(m); !errors.Is(err, errCostly) {
			t.Errorf("%s is %v, %v; want that it costs too much", text, got, err)
		}
	}
}

// What people ask for stays decided, also with patterns that a message completes.
func TestConditionsWithinTheBound(t *testing.T) {
	m := large(10_000, 100, "^dt/[a-z]+-[0-9]/state$")
	for text, want := range map[string]bool{
		`payload.text.matches("^a+$")`:                                       true,
		`payload.text.matches("b$")`:                                         false,
		`topic.matches("^dt/" + client_id + "/.*$")`:                         true,
		`topic.matches(payload.pattern)`:                                     true,
		`payload.list.all(x, topic.matches("^dt/.{1,99}/state$") && x == 0)`: true,
		`7 in payload.list || size(payload.text) > 9999`:                     true,
		`payload.list == payload.list && payload != payload.list`:            true,
		`matches(topic, "press")`:                                            true,
		`payload.text.matches("(a|b|c|d|e)*x")`:                              false,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.Holds(m); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for text, part := range map[string]string{`topic.matches("(")`: "missing closing", `topic.matches(payload.pattern)`: "missing closing"} {
		c, err := Compile(text)
		if err == nil {
			_, err = c.Holds(large(0, 0, "("))
		}
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
