package rules

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseFilter(t *testing.T) {
	for _, tc := range []struct{ filter, fault string }{
		{"a", ""}, {"/", ""}, {"a//b", ""}, {"+", ""}, {"#", ""}, {"+/a/#", ""}, {"$aws/things/+/shadow/#", ""}, {"$shared", ""},
		{"", "is missing"},
		{"a/#/b", `"#" before its last level`},
		{"a/b#", `wildcard beside other characters in "b#"`},
		{"a+/b", `wildcard beside other characters in "a+"`},
		{"a\x00b", "NUL"},
		{"$share/g/a", "shared subscription"},
		{strings.Repeat("a", 65536), "longer than 65535"},
	} {
		_, err := parseFilter(tc.filter)
		switch {
		case tc.fault == "" && err != nil:
			t.Errorf("%.40q: %v", tc.filter, err)
		case tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)):
			t.Errorf("%.40q: got %v, want %q", tc.filter, err, tc.fault)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		filter, topic string
		want          bool
	}{
		{"sensor/#", "sensor", true}, // the parent (MQTT 5 §4.7.1.2)
		{"sensor/#", "sensor/", true},
		{"sensor/#", "sensor/1/t", true},
		{"sensor/#", "sensors", false},
		{"sensor/+", "sensor", false},
		{"sensor/+", "sensor/", true}, // an empty level is a level
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"#", "$SYS/load", false}, // §4.7.2
		{"+/load", "$SYS/load", false},
		{"$SYS/#", "$SYS/load", true},
		{"$SYS/+", "$SYS/load", true},
		{"$SYS/#", "$SYS", true},
		{"#", "a/$b", true},
		{"+/$b", "a/$b", true},
		{"Sensor", "sensor", false},
	} {
		var tr trie
		tr.add(mustFilter(tc.filter), 3)
		var hit idSet
		tr.match(tc.topic, &hit)
		if hit.has(3) != tc.want || naiveMatch(tc.filter, tc.topic) != tc.want {
			t.Errorf("%q matches %q: trie %v, reference %v, want %v", tc.filter, tc.topic, hit.has(3), naiveMatch(tc.filter, tc.topic), tc.want)
		}
	}
}

// alphabet is small, so that random filters and topics meet; "z" is in no
// filter and stands for all other names.
var alphabet = []string{"", "a", "b", "$a", "z"}

func genTopic(t *rapid.T) string {
	if topic := strings.Join(rapid.SliceOfN(rapid.SampledFrom(alphabet), 1, 5).Draw(t, "topic"), "/"); topic != "" {
		return topic
	}
	return "/"
}

func genFilter(t *rapid.T) string {
	levels := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "$a", "+", "+"}), 0, 3).Draw(t, "levels")
	if len(levels) == 0 || rapid.Bool().Draw(t, "rest") {
		levels = append(levels, "#")
	}
	if f := strings.Join(levels, "/"); f != "" {
		return f
	}
	return "+"
}

func TestTrieIsTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tr trie
		filters := rapid.SliceOfN(rapid.Custom(genFilter), 1, 70).Draw(t, "filters")
		for i, f := range filters {
			tr.add(mustFilter(f), i)
		}
		topic := genTopic(t)
		var hit idSet
		tr.match(topic, &hit)
		n, id := 0, -1
		for i, f := range filters {
			want := naiveMatch(f, topic)
			if hit.has(i) != want {
				t.Fatalf("%q on %q: trie %v, reference %v", f, topic, hit.has(i), want)
			}
			if want {
				if id = hit.next(id + 1); id != i {
					t.Fatalf("next is %d, want %d", id, i)
				}
				n++
			}
		}
		if hit.len() != n {
			t.Fatalf("len is %d, want %d", hit.len(), n)
		}
	})
}

// topics are all topics of up to five levels: enough to tell filters of up to
// four levels apart. The empty one, which is no topic, is among them: "/#" and
// "+" count as meeting in it, which costs nobody anything.
func topics() []string {
	last := alphabet
	all := append([]string(nil), last...)
	for range 4 {
		var next []string
		for _, t := range last {
			for _, l := range alphabet {
				next = append(next, t+"/"+l)
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

func TestIntersectsAndCoversAreExact(t *testing.T) {
	all := topics()
	rapid.Check(t, func(t *rapid.T) {
		a, b := genFilter(t), genFilter(t)
		meet, cover := false, true
		for _, topic := range all {
			inA, inB := naiveMatch(a, topic), naiveMatch(b, topic)
			meet = meet || inA && inB
			cover = cover && (inA || !inB)
		}
		if got := intersects(mustFilter(a), mustFilter(b)); got != meet {
			t.Fatalf("intersects(%q, %q) is %v, want %v", a, b, got, meet)
		}
		if got := intersects(mustFilter(b), mustFilter(a)); got != meet {
			t.Fatalf("intersects(%q, %q) is %v, want %v", b, a, got, meet)
		}
		if got := covers(mustFilter(a), mustFilter(b)); got != cover {
			t.Fatalf("covers(%q, %q) is %v, want %v", a, b, got, cover)
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("sensor/#\n+/load\n#", "sensor")
	f.Add("$SYS/#\n#\n+/+", "$SYS/load")
	f.Add("/\n//\n+//#", "//")
	f.Add("a/+/c\na/b/#", "a/b/c")
	f.Fuzz(func(t *testing.T, list, topic string) {
		var tr trie
		var known []string
		for _, s := range strings.Split(list, "\n") {
			levels, err := parseFilter(s)
			if err != nil || len(known) > MaxRoutes {
				continue
			}
			tr.add(levels, len(known))
			known = append(known, s)
			if !intersects(levels, levels) || !covers(levels, levels) {
				t.Fatalf("%q does not cover itself", s)
			}
		}
		if topic == "" || strings.ContainsAny(topic, "+#\x00") {
			return
		}
		var hit idSet
		tr.match(topic, &hit)
		for i, s := range known {
			if want := naiveMatch(s, topic); hit.has(i) != want {
				t.Fatalf("%q on %q: trie %v, reference %v", s, topic, hit.has(i), want)
			}
		}
	})
}
