package localbroker

import (
	"strings"
	"testing"
)

func TestTopicName(t *testing.T) {
	aws, mqtt := profiles()[profileAWS], profiles()[profileMQTT]
	long := strings.Repeat("x", 257)
	tests := []struct {
		topic     string
		aws, mqtt bool
	}{
		{"a", true, true},
		{"", false, false},
		{"a/+", false, false},
		{"a#b", false, false},
		{long, false, true},
		{long[:256], true, true},
		{"1/2/3/4/5/6/7/8", true, true},
		{"1/2/3/4/5/6/7/8/9", false, true},
		{"$aws/things/t/shadow/name/s/update/accepted", true, true},
		{"$aws/rules/r/1/2/3/4/5/6/7/8", true, true},
		{"$aws/rules/r/1/2/3/4/5/6/7/8/9", false, true},
		{"$aws/rules/r/" + long[:256], true, true},
		{"$aws/rules/r", true, true},
		{"$aws/rules", false, true},
		{"$aws/rules/", false, true},
		{"$aws/rules//x", false, true},
		{"$SYS/x", false, false},
		{"$mine/x", false, true},
		{"$", false, true},
	}
	for _, tt := range tests {
		if err := aws.topicName(tt.topic); (err == nil) != tt.aws {
			t.Errorf("aws, %.40q: %v", tt.topic, err)
		}
		if err := mqtt.topicName(tt.topic); (err == nil) != tt.mqtt {
			t.Errorf("mqtt, %.40q: %v", tt.topic, err)
		}
	}
}

func TestParseFilter(t *testing.T) {
	aws, mqtt := profiles()[profileAWS], profiles()[profileMQTT]
	tests := []struct {
		filter    string
		aws, mqtt bool
	}{
		{"a/b", true, true},
		{"#", true, true},
		{"+", true, true},
		{"a/+/b/#", true, true},
		{"a/#/b", false, false},
		{"a#", false, false},
		{"a+/b", false, false},
		{"", false, false},
		{"/", true, true},
		{"1/2/3/4/5/6/7/8/#", false, true},
		{"$share/g/1/2/3/4/5/6/7/8", true, true},
		{"$share/g/a/#", true, true},
		{"$share//a", false, false},
		{"$share/g", false, false},
		{"$share/g/", false, false},
		{"$share/g+/a", false, false},
		{"$share/" + strings.Repeat("g", 129) + "/a", false, false},
		{"$Share/g/a", false, true},
		{"$SYS/#", false, true},
		{"$aws/things/t/#", true, true},
		{"$aws/rules/r/#", false, true},
	}
	for _, tt := range tests {
		if _, err := aws.parseFilter(tt.filter); (err == nil) != tt.aws {
			t.Errorf("aws, %.40q: %v", tt.filter, err)
		}
		if _, err := mqtt.parseFilter(tt.filter); (err == nil) != tt.mqtt {
			t.Errorf("mqtt, %.40q: %v", tt.filter, err)
		}
	}
}

// matchCases are filter, topic, match, match where "a/#" covers "a".
func matchCases() []struct {
	filter, topic string
	want, parent  bool
} {
	return []struct {
		filter, topic string
		want, parent  bool
	}{
		{"a", "a", true, true},
		{"a", "b", false, false},
		{"a", "a/b", false, false},
		{"a/b", "a", false, false},
		{"+", "a", true, true},
		{"+", "a/b", false, false},
		{"+", "", true, true},
		{"a/+", "a/", true, true},
		{"a/+", "a", false, false},
		{"#", "a/b/c", true, true},
		{"a/#", "a/b/c", true, true},
		{"a/#", "a/", true, true},
		{"sensor/#", "sensor", false, true}, // B134
		{"+/#", "par", false, true},         // M8
		{"par/+/#", "par/b", false, true},   // M8
		{"par/+/#", "par/b/c", true, true},
		{"a/b/#", "a", false, false},
		{"#", "$SYS/x", false, false}, // B133
		{"+/x", "$SYS/x", false, false},
		{"$SYS/#", "$SYS/x", true, true},
		{"$SYS/+", "$SYS/x", true, true},
		{"$SYS/#", "$SYS", false, true},
		{"/+", "/a", true, true},
		{"+/+", "/a", true, true},
		{"+", "/a", false, false},
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range matchCases() {
		if got := matches(tt.filter, tt.topic, false); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.filter, tt.topic, got)
		}
		if got := matches(tt.filter, tt.topic, true); got != tt.parent {
			t.Errorf("with parents, matches(%q, %q) = %v", tt.filter, tt.topic, got)
		}
	}
}

// TestIndexMatches: the index says the same as matches, and forgets completely.
func TestIndexMatches(t *testing.T) {
	for _, tt := range matchCases() {
		for _, parent := range []bool{false, true} {
			for _, group := range []string{"", "g"} {
				var x index
				s := &session{}
				f := filter{text: tt.filter, topic: tt.filter, group: group}
				x.add(&subscription{session: s, filter: f, parent: parent})
				want := tt.want
				if parent {
					want = tt.parent
				}
				if tt.topic == "" {
					continue
				}
				if got := len(x.match(tt.topic, nil)) == 1; got != want {
					t.Errorf("parent %v, group %q: index of %q matches %q: %v", parent, group, tt.filter, tt.topic, got)
				}
				if got := x.any(tt.topic); got != want {
					t.Errorf("parent %v, group %q: any of %q for %q: %v", parent, group, tt.filter, tt.topic, got)
				}
				x.remove(s, f)
				if !x.root.empty() {
					t.Errorf("the index keeps something of %q", tt.filter)
				}
			}
		}
	}
}

// FuzzIndex holds the index to the plain matcher.
func FuzzIndex(f *testing.F) {
	for _, tt := range matchCases() {
		f.Add(tt.filter, tt.topic, true)
		f.Add(tt.filter, tt.topic, false)
	}
	p := profiles()[profileMQTT]
	f.Fuzz(func(t *testing.T, text, topic string, parent bool) {
		parsed, err := p.parseFilter(text)
		if err != nil || topic == "" || strings.ContainsAny(topic, "+#") {
			return
		}
		var x index
		s := &session{}
		x.add(&subscription{session: s, filter: parsed, parent: parent})
		got := len(x.match(topic, nil)) == 1
		if want := matches(parsed.topic, topic, parent); got != want {
			t.Errorf("index of %q matches %q: %v, want %v", text, topic, got, want)
		}
		if any := x.any(topic); any != got {
			t.Errorf("any of %q for %q: %v, want %v", text, topic, any, got)
		}
		x.remove(s, parsed)
		if !x.root.empty() {
			t.Errorf("the index keeps something of %q", text)
		}
	})
}

// TestShareGroupPrefersConnected: one member of each group, at random among the
// connected ones.
func TestShareGroupPrefersConnected(t *testing.T) {
	var x index
	members := []*session{{id: "a"}, {id: "b"}, {id: "c"}}
	for _, s := range members {
		x.add(&subscription{session: s, filter: filter{topic: "t", group: "g"}})
	}
	members[0].online.Store(true)
	members[2].online.Store(true)
	hits := map[string]int{}
	for range 200 {
		got := x.match("t", nil)
		if len(got) != 1 {
			t.Fatalf("%d members chosen", len(got))
		}
		hits[got[0].session.id]++
	}
	if hits["b"] > 0 || hits["a"] < 50 || hits["c"] < 50 {
		t.Errorf("chosen %v", hits)
	}
	members[0].online.Store(false)
	members[2].online.Store(false)
	if got := x.match("t", nil); len(got) != 1 {
		t.Errorf("nobody is connected: %d chosen, want a held one", len(got))
	}
}

// TestReservedExtra: the names of reserved_extra are taken with all below them;
// $SYS is for subscribers only, and Basic Ingest for publishers only (B82,
// B131, B146).
func TestReservedExtra(t *testing.T) {
	edge, aws := profiles()[profileAWSEdge], profiles()[profileAWS]
	for _, tt := range []struct {
		topic            string
		publish, filters bool // in aws-edge
	}{
		{"$file/x", true, true},
		{"$file", true, true},
		{"$file-async/a/b", true, true},
		{"$file-response", true, true},
		{"$files/x", false, false},
		{"$SYS/broker/uptime", false, true},
		{"$other", false, false},
		{"$aws/rules/r/t", true, false},
		{"$aws/rules", false, false},
		{"$aws/rules/", false, false},
		{"$aws/things/t/shadow/get", true, true},
	} {
		if got := edge.topicName(tt.topic) == nil; got != tt.publish {
			t.Errorf("aws-edge: PUBLISH to %s is %v", tt.topic, got)
		}
		if _, err := edge.parseFilter(tt.topic); (err == nil) != tt.filters {
			t.Errorf("aws-edge: SUBSCRIBE to %s: %v", tt.topic, err)
		}
		own := tt.topic[:4] == "$aws"
		if got := aws.topicName(tt.topic) == nil; got != (own && tt.publish) {
			t.Errorf("aws: PUBLISH to %s is %v", tt.topic, got)
		}
		if _, err := aws.parseFilter(tt.topic); (err == nil) != (own && tt.filters) {
			t.Errorf("aws: SUBSCRIBE to %s: %v", tt.topic, err)
		}
	}
	if _, err := edge.parseFilter("$share/g/$file/x"); err != nil {
		t.Errorf("shared: %v", err)
	}
}
