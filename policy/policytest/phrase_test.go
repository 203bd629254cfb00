package policytest

import (
	"fmt"
	"strings"
	"testing"
)

func TestPhrases(t *testing.T) {
	will := connecting{persistent: true, hasWill: true, will: "w"}
	retained := connecting{hasWill: true, will: "w", retain: true}
	atFire := connecting{hasWill: true, will: "w", retain: true, fire: true}
	for _, c := range []struct {
		text string
		with connecting
		want string
	}{
		{"connect", connecting{}, "iot:Connect client/c"},
		{" Connect ", will, "iot:Connect client/c [PersistentConnect LastWill] will w; iot:Publish topic/w"},
		{"connect", retained, "iot:Connect client/c [LastWill] will w; iot:Publish topic/w; iot:RetainPublish topic/w"},
		{"connect", atFire, "iot:Connect client/c [LastWill] will w"},
		{"publish a/b c", connecting{}, "iot:Publish topic/a/b c"},
		{"publish retained a/b", connecting{}, "iot:Publish topic/a/b; iot:RetainPublish topic/a/b"},
		{"publish retained/x", connecting{}, "iot:Publish topic/retained/x"},
		{"subscribe a/+/#", connecting{}, "iot:Subscribe topicfilter/a/+/#"},
		{"subscribe $share/g/a/#", connecting{}, "iot:Subscribe topicfilter/$share/g/a/#"},
		{"receive a", connecting{}, "iot:Receive topic/a"},
		{"receive $share/g/a/b", connecting{}, "iot:Receive topic/a/b through g"},
		{"iot:GetThingShadow thing/t", connecting{}, "iot:GetThingShadow thing/t"},
		{"iot:ListRetainedMessages *", connecting{}, "iot:ListRetainedMessages *"},

		{"connect as d", connecting{}, "! under client"},
		{"publish", connecting{}, "! names no topic"},
		{"publish retained ", connecting{}, "iot:Publish topic/retained"},
		{"subscribe", connecting{}, "! whole phrase in quotes"},
		{"receive $share/g", connecting{}, "! names no topic"},
		{"iot:GetThingShadow", connecting{}, "! names no resource"},
		{"fly", connecting{}, "! nothing that a client does"},
		{"", connecting{}, "! nothing that a client does"},
	} {
		t.Run(c.text, func(t *testing.T) {
			questions, err := phrase(c.text, "c", c.with)
			var said []string
			for _, q := range questions {
				text := q.Action + " " + q.Resource
				if len(q.ConnectAttributes) > 0 {
					text += fmt.Sprint(" ", q.ConnectAttributes)
				}
				if q.LastWillTopic != nil {
					text += " will " + *q.LastWillTopic
				}
				if q.Share != "" {
					text += " through " + q.Share
				}
				said = append(said, text)
			}
			if want, wrong := strings.CutPrefix(c.want, "! "); wrong {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			} else if got := strings.Join(said, "; "); err != nil || got != c.want {
				t.Errorf("asks %s, want %s (%v)", got, c.want, err)
			}
		})
	}
}
