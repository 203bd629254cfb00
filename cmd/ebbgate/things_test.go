package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// A cloud that is away is one warning, however many things have a connection to it;
// a certificate that ends is another, and is no reason not to be connected.
func TestTroubleOfThingsIsOneWarning(t *testing.T) {
	h := new(bridge.Health)
	trouble := &thingTrouble{upstream: "aws", health: h, of: map[string]map[string]map[string]string{}}
	hooks := map[string]upstream.Hooks{}
	for i := range 5 {
		name := fmt.Sprint("pump-", i)
		hooks[name] = trouble.hooks(name, upstream.Hooks{})
		hooks[name].Warn(bridge.Warning{Code: "uplink-down", Text: "no route"})
	}
	hooks["pump-1"].Over("uplink-refused") // it never began
	ws := h.Warnings()
	if len(ws) != 1 || ws[0].Code != "things-aws" || !strings.Contains(ws[0].Text, "5 things to aws") || !strings.Contains(ws[0].Text, "pump-0, pump-1, pump-2, …") || !strings.Contains(ws[0].Text, "no route") {
		t.Fatalf("%+v", ws)
	}
	hooks["pump-3"].Warn(bridge.Warning{Code: "uplink-certificate", Text: "ends tomorrow"})
	for i := range 5 {
		hooks[fmt.Sprint("pump-", i)].Over("uplink-down")
	}
	if got := trouble.down(); len(got) != 0 {
		t.Errorf("down: %v", got)
	}
	if ws := h.Warnings(); len(ws) != 1 || ws[0].Code != "things-certificates-aws" || !strings.Contains(ws[0].Text, "ends tomorrow") {
		t.Errorf("%+v", ws)
	}
	hooks["pump-2"].Warn(bridge.Warning{Code: "uplink-refused", Text: "not authorized"})
	hooks["pump-3"].Over("uplink-certificate")
	if ws := h.Warnings(); len(ws) != 1 || !slices.Equal(trouble.down(), []string{"pump-2"}) {
		t.Errorf("%+v, down %v", ws, trouble.down())
	}
	hooks["pump-2"].Over("uplink-refused")
	if ws := h.Warnings(); len(ws) != 0 {
		t.Errorf("%+v", ws)
	}
}
