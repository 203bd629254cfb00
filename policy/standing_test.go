package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestStanding finds a client's documents and context by what it would log in
// with, or says what to name (§7, §10).
func TestStanding(t *testing.T) {
	const one, two, three = "1111111111111111111111111111111111111111111111111111111111111111",
		"2222222222222222222222222222222222222222222222222222222222222222",
		"3333333333333333333333333333333333333333333333333333333333333333"
	dir := t.TempDir()
	things := `
things:
  press-1: {type: press, attributes: {line: a}, groups: [line], certificates: ["` + one + `"], policies: [own]}
  press-2: {certificates: ["` + two + `", "` + three + `"], policies: [own]}
  bare: {}
groups: {line: {policies: [group]}}
certificates: {"` + three + `": {status: INACTIVE, policies: [own]}}
users: {panel: {policies: [group]}}
`
	if err := os.WriteFile(filepath.Join(dir, "things.yaml"), []byte(things), 0o600); err != nil {
		t.Fatal(err)
	}
	policies := filepath.Join(dir, "policies")
	if err := os.Mkdir(policies, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"own", "group", "extra"} {
		text := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}`
		if err := os.WriteFile(filepath.Join(policies, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Load(Options{Things: filepath.Join(dir, "things.yaml"), Policies: policies})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		who      Who
		policies []string
		thing    string
		wrong    string
	}{
		"thing":                {Who{ClientID: "press-1"}, []string{"own", "group"}, "press-1", ""},
		"another id":           {Who{ClientID: "x", Thing: "press-1"}, []string{"own"}, "", ""},
		"certificate":          {Who{ClientID: "press-2", Certificate: two}, []string{"own"}, "press-2", ""},
		"another's":            {Who{ClientID: "press-2", Certificate: one}, []string{"own"}, "", ""},
		"user":                 {Who{ClientID: "t", User: "panel", Policies: []string{"extra"}}, []string{"extra", "group"}, "", ""},
		"no thing":             {Who{ClientID: "nobody"}, nil, "", `no thing "nobody"; name another thing`},
		"no certificate":       {Who{ClientID: "bare"}, nil, "", "thing bare has no certificate in the registry; name the user"},
		"two certificates":     {Who{ClientID: "press-2"}, nil, "", "thing press-2 has 2 certificates: " + two + ", " + three + "; name one"},
		"inactive":             {Who{ClientID: "press-2", Certificate: three}, nil, "", "is INACTIVE: set it to ACTIVE"},
		"unknown certificate":  {Who{ClientID: "press-1", Certificate: strings.Repeat("0", 64)}, nil, "", "is not registered"},
		"policy of a listener": {Who{ClientID: "t", User: "panel", Policies: []string{"gone"}}, nil, "", `there is no policy "gone"`},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := e.Standing(c.who)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("error %v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil || !slices.Equal(st.Policies, c.policies) || st.Context.ThingName != c.thing || st.Context.ClientID != c.who.ClientID {
				t.Errorf("%+v, %v", st, err)
			}
			if c.thing == "press-1" && (st.Context.ThingType != "press" || st.Context.ThingAttributes["line"] != "a" || !st.Context.ThingAttached || st.Context.Certificate.ID != one) {
				t.Errorf("context %+v", st.Context)
			}
		})
	}
}
