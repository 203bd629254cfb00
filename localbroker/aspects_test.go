package localbroker

import (
	"slices"
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
