package policy

import "testing"

// TestWithoutRegionAndAccount asks a gateway that has neither, as it is shipped:
// a field is not compared there, but what stands in its place because a "*" has
// run past the colon is (policy §5.7).
func TestWithoutRegionAndAccount(t *testing.T) {
	desk, err := NewDesk(Options{})
	if err != nil {
		t.Fatal(err)
	}
	statement := func(effect, action, resource, condition string) string {
		return `{"Effect":"` + effect + `","Action":"` + action + `","Resource":"` + resource + `"` + condition + `}`
	}
	document := func(statements string) []Document {
		return []Document{{Name: "p", Text: []byte(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)}}
	}
	will := "secret/x"
	for _, c := range []struct {
		name, statements string
		q                Question
		want             string
	}{
		{"the branch that is allowed", statement("Allow", "iot:*", "arn:aws:iot:*:topic/public/*", ""),
			Question{Action: "iot:Publish", Resource: "topic/public/x"}, Allowed},
		{"another branch", statement("Allow", "iot:*", "arn:aws:iot:*:topic/public/*", ""),
			Question{Action: "iot:Publish", Resource: "topic/secret/x"}, ImplicitDeny},
		{"a client", statement("Allow", "iot:*", "arn:aws:iot:*:topic/public/*", ""),
			Question{Action: "iot:Connect", Resource: "client/admin"}, ImplicitDeny},
		{"a filter", statement("Allow", "iot:*", "arn:aws:iot:*:topic/public/*", ""),
			Question{Action: "iot:Subscribe", Resource: "topicfilter/#"}, ImplicitDeny},
		{"a Deny", statement("Allow", "iot:*", "*", "") + "," + statement("Deny", "iot:*", "arn:aws:iot:*:topic/secret", ""),
			Question{Action: "iot:Publish", Resource: "topic/secret"}, ExplicitDeny},
		{"a colon in the topic", statement("Allow", "iot:*", "arn:aws:iot:*:topic/dt:x", ""),
			Question{Action: "iot:Publish", Resource: "topic/dt:x"}, Allowed},
		{"no colon to be had", statement("Allow", "iot:*", "arn:aws:iot:*:topic/dt:x", ""),
			Question{Action: "iot:Publish", Resource: "topic/zzz::x"}, ImplicitDeny},
		{"region and account of somebody's", statement("Allow", "iot:*", "arn:aws:iot:eu-central-1:123456789012:topic/a", ""),
			Question{Action: "iot:Publish", Resource: "topic/a"}, Allowed},
		{"an account behind a star", statement("Allow", "iot:*", "arn:aws:iot:*:123456789012:topic/a", ""),
			Question{Action: "iot:Publish", Resource: "topic/a"}, Allowed},
		{"a will's topic of fewer fields", statement("Allow", "iot:Connect", "*", "") + "," +
			statement("Deny", "iot:Connect", "*", `,"Condition":{"StringLike":{"iot:LastWillTopic":"arn:aws:iot:*:topic/secret/*"}}`),
			Question{Action: "iot:Connect", Resource: "client/dev1", ConnectAttributes: []string{"LastWill"}, LastWillTopic: &will}, ExplicitDeny},
	} {
		t.Run(c.name, func(t *testing.T) {
			docs, who := document(c.statements), Context{ClientID: "dev1"}
			a, err := desk.Ask(t.Context(), docs, who, c.q)
			if err != nil {
				t.Fatal(err)
			}
			d, err := desk.Compiled(t.Context(), docs, who, c.q)
			if err != nil {
				t.Fatal(err)
			}
			if a.Outcome != c.want || d.Allowed != (c.want == Allowed) || d.Explicit != (c.want == ExplicitDeny) {
				t.Errorf("plain Rego says %s, compiled %+v; want %s", a.Outcome, d, c.want)
			}
		})
	}
}
