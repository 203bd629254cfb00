package rules

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseTemplate(t *testing.T) {
	for _, tc := range []struct {
		template string
		device   bool
		fault    string
	}{
		{"${topic}", true, ""}, {"dt/${thing_name}/x-${topic[2]}y", true, ""}, {"$aws/rules/r/${topic}", true, ""}, {"a$b/${client_id}", true, ""},
		{"${topic[65535]}", false, ""},
		{"", true, "is missing"},
		{"dt/${topik}", true, "unknown variable ${topik} at character 4; known are ${topic}, ${topic[1]}, ${client_id} and ${thing_name}"},
		{"dt/${topik}", false, "known are ${topic} and ${topic[1]}"},
		{"dü/${topic", true, "a ${ without } at character 4"},
		{"${topic[0]}", true, "not a level of a topic; count the levels from 1"},
		{"${topic[x]}", true, "${topic[x]} at character 1"},
		{"${topic[70000]}", true, "not a level"},
		{"${topic[]}", true, "not a level"},
		{"a/+/${topic}", true, `has '+' at character 3`},
		{"${topic}/#", true, `has '#' at character 10`},
		{"a\x00", true, "at character 2"},
		{"${client_id}", false, "has no device"},
		{"x/${thing_name}", false, "at character 3, but a message from an upstream has no device"},
		{"$share/g/${topic}", true, "begins with $share/"},
		{"${}", true, "unknown variable ${}"},
	} {
		_, err := parseTemplate(tc.template, tc.device)
		switch {
		case tc.fault == "" && err != nil:
			t.Errorf("%q: %v", tc.template, err)
		case tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)):
			t.Errorf("%q: got %v, want %q", tc.template, err, tc.fault)
		}
	}
}

func TestExpand(t *testing.T) {
	long := strings.Repeat("a", 257)
	aws := limitsOf("aws", true)
	for _, tc := range []struct {
		name, template string
		source         source
		limits         limits
		want, fault    string
	}{
		{"verbatim", "${topic}", source{"a//b", "c", "t"}, aws, "a//b", ""},
		{"levels", "x/${topic[2]}-${topic[1]}/${client_id}/${thing_name}", source{"a/b", "c", "t"}, aws, "x/b-a/c/t", ""},
		{"missing level", "x/${topic[3]}", source{topic: "a/b"}, aws, "", "the topic has no level 3"},
		{"empty level", "x/${topic[2]}", source{topic: "a//b"}, aws, "", "level 2 of the topic is empty"},
		{"no thing", "x/${thing_name}", source{topic: "a", client: "c"}, aws, "", "the device has no thing name"},
		{"no client id", "x/${client_id}", source{topic: "a"}, aws, "", "the device has no client id"},
		{"wildcard in client id", "x/${client_id}", source{topic: "a", client: "+"}, aws, "", "has a /, +, # or NUL"},
		{"slash in client id", "x/${client_id}/y", source{topic: "a", client: "c/../b"}, aws, "", "has a /, +, # or NUL"},
		{"NUL in client id", "x/${client_id}/y", source{topic: "a", client: "c\x00"}, aws, "", "has a /, +, # or NUL"},
		{"client id not UTF-8", "x/${client_id}", source{topic: "a", client: "\xff"}, aws, "", "is not UTF-8"},
		{"reserved by the template", "$aws/things/${client_id}/shadow/update", source{"a", "c", ""}, aws, "$aws/things/c/shadow/update", ""},
		{"reserved by the filter", "${topic[1]}/x", source{topic: "$aws/y"}, aws, "$aws/x", ""},
		{"reserved by a device", "${topic[2]}/${topic[3]}", source{topic: "a/$aws/things"}, aws, "", `would begin with "$"`},
		{"reserved by a client id", "${client_id}/x", source{"a", "$aws", ""}, aws, "", `would begin with "$"`},
		{"too long", "${topic}", source{topic: long}, aws, "", "has 257 bytes, allowed are 256"},
		{"too long by template", "x/${topic}", source{topic: long[:255]}, aws, "", "has 257 bytes"},
		{"much too long", "${topic}${topic}", source{topic: strings.Repeat("a", 60000)}, limitsOf("mqtt", true), "", "longer than 65535"},
		{"long for mqtt", "${topic}", source{topic: long + "/1/2/3/4/5/6/7/8"}, limitsOf("mqtt", true), long + "/1/2/3/4/5/6/7/8", ""},
		{"seven slashes", "${topic}", source{topic: "1/2/3/4/5/6/7/8"}, aws, "1/2/3/4/5/6/7/8", ""},
		{"eight slashes", "x/${topic}", source{topic: "1/2/3/4/5/6/7/8"}, aws, "", "has 8 slashes, allowed are 7"},
		{"eight slashes down", "x/${topic}", source{topic: "1/2/3/4/5/6/7/8"}, limitsOf("aws", false), "x/1/2/3/4/5/6/7/8", ""},
		{"basic ingest", "$aws/rules/r/${topic}", source{topic: "1/2/3/4/5/6/7/8"}, aws, "$aws/rules/r/1/2/3/4/5/6/7/8", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := mustTemplate(tc.template, true).expand(tc.source, tc.limits)
			if tc.fault == "" && (err != nil || got != tc.want) {
				t.Fatalf("got %q, %v, want %q", got, err, tc.want)
			}
			if tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)) {
				t.Fatalf("got %q, %v, want %q", got, err, tc.fault)
			}
		})
	}
}

// patternMatches is whether a topic is within a pattern of results.
func patternMatches(p []level, topic string) bool {
	var lit []level
	for _, l := range strings.Split(topic, "/") {
		lit = append(lit, level{text: l})
	}
	return intersects(p, lit)
}

// Every topic that a route can make is in its pattern: no loop is overlooked.
func TestPatternHoldsEveryResult(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"${topic}", "${topic[1]}", "${topic[2]}", "${client_id}", "/", "/", "a", "$a", "x-"}), 1, 6).Draw(t, "parts")
		from, topic := genFilter(t), genTopic(t)
		tmpl, err := parseTemplate(strings.Join(parts, ""), true)
		if err != nil || !naiveMatch(from, topic) || topic == "" {
			t.Skip()
		}
		client := rapid.SampledFrom([]string{"a", "b", "$a", "c"}).Draw(t, "client")
		got, err := tmpl.expand(source{topic: topic, client: client}, limitsOf("aws", true))
		if err != nil {
			t.Skip()
		}
		if p := tmpl.pattern(mustFilter(from)); !patternMatches(p, got) {
			t.Fatalf("%q makes %q of %q (from %q), outside of %+v", strings.Join(parts, ""), got, topic, from, p)
		}
	})
}

// A pattern says as much as the text of the template does.
func TestPatternIsNarrow(t *testing.T) {
	for _, tc := range []struct {
		template, from, down string
		want                 bool
	}{
		{"${topic}", "dt/#", "cmd/#", false},
		{"${topic}", "dt/#", "dt/a/b", true},
		{"${topic}", "dt/+", "dt/a/b", false},
		{"site1/${topic}", "#", "cmd/#", false},
		{"site1/${topic}", "#", "site1/cmd/#", true},
		{"site1/${topic}", "dt/#", "site1/cmd/#", false},
		{"${topic[2]}/x", "+/dt/#", "cmd/x", false},
		{"${topic[1]}/x", "+/dt/#", "cmd/x", true},
		{"gw-${client_id}/x", "#", "cmd/#", false},
		{"gw-${client_id}/x", "#", "gw-1/#", true},
		{"gw-${client_id}-up/x", "#", "gw-1-down/#", false},
		{"gw-${client_id}-up/x", "#", "gw-1-up/#", true},
		{"${topic}/up", "a/#", "a/b/down", true}, // what follows "#" is unknown
		{"${topic}/up", "a/+", "a/b/down", false},
		{"${topic}", "#", "$aws/#", false},
		{"$aws/rules/r/${topic}", "#", "$aws/things/#", false},
	} {
		p := mustTemplate(tc.template, true).pattern(mustFilter(tc.from))
		if got := intersects(p, mustFilter(tc.down)); got != tc.want {
			t.Errorf("%q from %q against %q: %v, want %v", tc.template, tc.from, tc.down, got, tc.want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"${topic}", "dt/${thing_name}/x-${topic[2]}y", "$aws/rules/r/${topic}", "${topic[", "${", "$", "${topic[0]}", "${client_id}${client_id}"} {
		f.Add(s, "a/b/c", "client", "thing")
	}
	f.Add("${topic[2]}/x", "a/$aws", "c", "t")
	f.Add("x/${client_id}/y", "a//b", "c/+/#", "")
	f.Fuzz(func(t *testing.T, s, topic, client, thing string) {
		tmpl, err := parseTemplate(s, true)
		if err != nil || topic == "" || strings.ContainsAny(topic, "+#\x00") {
			return
		}
		got, err := tmpl.expand(source{topic, client, thing}, limitsOf("aws", true))
		if err != nil {
			return
		}
		switch {
		case got == "" || strings.ContainsAny(got, "+#\x00"):
			t.Fatalf("%q made %q", s, got)
		case strings.HasPrefix(got, "$") && !strings.HasPrefix(s, "$") && !strings.HasPrefix(topic, "$"):
			t.Fatalf("%q made the reserved %q", s, got)
		case !patternMatches(tmpl.pattern(mustFilter("#")), got) && !strings.HasPrefix(topic, "$"):
			t.Fatalf("%q made %q, outside of its pattern", s, got)
		}
	})
}

// How long topics are is known before there is a message, as far as its names are.
func TestTopicSizes(t *testing.T) {
	n := Names{Topic: 40, ClientID: 12, Thing: 7, Begins: "dt/pump"}
	for _, c := range []struct {
		topic string
		begin string
		size  int // of a message's own of 40; -1: not known
		own   int // of a message whose topic of the route has 40
	}{
		{"${topic}", "dt/pump", 40, 40},
		{"site-1/${topic}", "dt/pump", 47, 33},
		{"${topic}/${client_id}/x/${topic}", "dt/pump", 96, 12},
		{"all/${thing_name}", "dt/pump", 11, -1},
		{"all/t", "", 5, -1},
		{"${topic[2]}/${topic[1]}", "dt/pump", 7, -1},
		{"${topic}/${topic[2]}", "dt/pump", 45, 35},
		{"${topic[3]}", "dt/pump", -1, -1},
		{"${topic}/${topic[1]}", "", -1, -1},
		{"a-route-whose-text-alone-is-longer-than-that/${topic}", "", 85, 0},
	} {
		u := DefaultUpRoute()
		u.Topic, n.Begins = c.topic, c.begin
		check := func(what string, want int, of func(Names) (int, bool)) {
			got, ok := of(n)
			if ok != (want >= 0) || ok && got != want {
				t.Errorf("%s of %s: %d, %v, want %d", what, c.topic, got, ok, want)
			}
		}
		check("size", c.size, u.TopicSize)
		check("own size", c.own, u.OwnTopicSize)
	}
}
