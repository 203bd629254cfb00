package localbroker

import (
	"slices"
	"strings"
	"testing"
)

// TestDifferences: profile aws is AWS; the others, and quotas that somebody has
// set, are said to differ.
func TestDifferences(t *testing.T) {
	if got := Differences(DefaultListenerOf(profileAWS)); len(got) > 0 {
		t.Errorf("profile aws: %+v", got)
	}
	edge := Differences(DefaultListener())
	for _, name := range []string{"traffic above the quotas of pace", "sessions last at most (Q22)", "topics that begin with `$`"} {
		if !slices.ContainsFunc(edge, func(a Aspect) bool { return a.Name == name }) {
			t.Errorf("aws-edge: %q is not among %+v", name, edge)
		}
	}
	if mqtt := Differences(DefaultListenerOf(profileMQTT)); len(mqtt) < 20 {
		t.Errorf("profile mqtt differs in %d ways only", len(mqtt))
	}
	own := DefaultListenerOf(profileAWS)
	own.Quotas.Subscriptions = 60
	if got := Differences(own); len(got) != 1 || got[0].Value != "8, 60" {
		t.Errorf("60 subscriptions: %+v", got)
	}
}

// TestEveryQuotaHasWords: each quota of pace has its row, key, effect and
// bound, and no two have the same.
func TestEveryQuotaHasWords(t *testing.T) {
	seen := map[string]bool{}
	for q := range quotaKinds {
		info := q.info()
		if info.id == "" || info.key == "" || info.unit == "" || info.limit == "" || seen[info.id] {
			t.Errorf("quota %d: %+v", q, info)
		}
		if !slices.Contains([]string{"discarded", "delayed", "refused"}, info.would) {
			t.Errorf("%s: AWS would have %s it", info.id, info.would)
		}
		seen[info.id] = true
	}
}

// TestReloadQuotas: who connects after a reload has the new quotas; those of
// the account need a restart, which the error says.
func TestReloadQuotas(t *testing.T) {
	h := open(t, people{}, plain(profileAWS))
	old := h.join(5, "old")
	o := h.listeners[0].settings.Load().ListenerOptions
	o.Quotas.Subscriptions, o.Quotas.ClientIDSize = 1, 3
	if err := h.Reload(Options{Listeners: []ListenerOptions{o}}); err != nil {
		t.Fatal(err)
	}
	if codes := old.subscribe(0, "a", "b"); string(codes) != "\x00\x00" {
		t.Errorf("a connection from before: SUBACK %x", codes)
	}
	if codes := h.join(5, "new").subscribe(0, "a", "b"); string(codes) != "\x00\x97" {
		t.Errorf("a new one: SUBACK %x", codes)
	}
	if code := dial(t, h.addr(), 5).connect("four").ReasonCode; code != 0x85 {
		t.Errorf("a longer client id: CONNACK %#x", code)
	}
	changed := Options{Listeners: []ListenerOptions{o}}
	changed.Broker.Quotas = DefaultAccountQuotas()
	changed.Broker.Quotas.ShareGroups = 7
	if err := h.Reload(changed); err == nil || !strings.Contains(err.Error(), "restart the gateway") {
		t.Errorf("quotas of the account: %v", err)
	}
}
