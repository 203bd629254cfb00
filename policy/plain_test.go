package policy

import (
	"errors"
	"fmt"
	"testing"
)

// TestPlain says what a desk says, asked again and for other clients too: what
// it remembers is of the same documents, client and gateway only.
func TestPlain(t *testing.T) {
	desk, err := NewDesk(Options{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := desk.Plain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := func(effect, resource string) []byte {
		return fmt.Appendf(nil, `{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":"iot:Publish","Resource":%q,"Condition":{"StringNotEquals":{"iot:Certificate.Subject.CommonName":"n"}}}]}`, effect, resource)
	}
	own := "arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}/*"
	sets := [][]Document{
		nil,
		{{Name: "a", Text: text("Allow", own)}},
		{{Name: "a", Text: text("Allow", own), Target: TargetThingGroup}},
		{{Name: "a", Text: text("Allow", "*")}, {Name: "b", Text: text("Deny", own)}},
		{{Name: "b", Text: text("Allow", "*")}, {Name: "a", Text: text("Deny", own)}},
		{{Name: "a", Text: []byte(`{}`)}},
	}
	contexts := []Context{
		{ClientID: "c"}, {ClientID: "d"}, {ClientID: "c", ThingName: "c", ThingAttached: true}, {Protocol: "http"},
		{ClientID: "c", Certificate: &CertificateContext{Subject: map[string][]string{"CommonName": {"n"}}}},
		{ClientID: "c", Certificate: &CertificateContext{Subject: map[string][]string{"CommonName": {"m"}}}},
	}
	questions := []Question{
		{Action: "iot:Publish", Resource: "topic/c/x"},
		{Action: "iot:Publish", Resource: "arn:aws:iot:us-east-1:123456789012:topic/d/x"},
		{Action: "iot:Publish", Resource: "arn:aws:iot:eu-west-1:123456789012:topic/c/x"},
		{Action: "iot:Subscribe", Resource: "topicfilter/c/x"},
	}
	outcomes := map[string]int{}
	for range 2 {
		for _, docs := range sets {
			for _, c := range contexts {
				for _, q := range questions {
					want, wantErr := desk.Ask(t.Context(), docs, c, q)
					got, err := plain.Outcome(t.Context(), docs, c, q)
					fast, fastErr := plain.Compiled(t.Context(), docs, c, q)
					if fmt.Sprint(err) != fmt.Sprint(wantErr) || fmt.Sprint(fastErr) != fmt.Sprint(wantErr) || got != want.Outcome {
						t.Errorf("%v %+v %+v: %s (%v), compiled %v, want %s (%v)", docs, c, q, got, err, fastErr, want.Outcome, wantErr)
					}
					if wantErr == nil && fast.Allowed != (want.Outcome == Allowed) {
						t.Errorf("%v %+v %+v: compiled %+v, want %s", docs, c, q, fast, want.Outcome)
					}
					outcomes[got]++
				}
			}
		}
	}
	if outcomes[Allowed] == 0 || outcomes[ExplicitDeny] == 0 || outcomes[ImplicitDeny] == 0 || outcomes[""] == 0 {
		t.Errorf("outcomes %v", outcomes)
	}
	twice := []Document{{Name: "a", Text: text("Allow", "*")}, {Name: "a", Text: text("Deny", "*")}}
	var faults Faults
	if _, err := plain.Outcome(t.Context(), twice, contexts[0], questions[0]); err == nil || errors.As(err, &faults) {
		t.Errorf("two documents of one name: %v", err)
	}
}
