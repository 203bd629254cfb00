package account

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/policy"
)

// fleetOf is an account of that many things, five to a certificate.
func fleetOf(t testing.TB, things int) *cloud {
	c := newCloud(t)
	c.policies["device"] = &cloudPolicy{versions: []string{byThing}}
	for i := range things {
		id := made(i / 5)
		if c.certificates[id] == nil {
			c.certificates[id] = &cloudCertificate{status: "ACTIVE", pem: "-----BEGIN CERTIFICATE-----\n" + strings.Repeat("A", 1200) + "\n-----END CERTIFICATE-----\n"}
			c.policies["device"].targets = append(c.policies["device"].targets, arnRoot+"cert/"+id)
		}
		c.things[fmt.Sprintf("thing-%05d", i)] = &cloudThing{kind: "press", attributes: map[string]string{"line": fmt.Sprint(i % 7)}, principals: map[string]string{arnRoot + "cert/" + id: "NON_EXCLUSIVE_THING"}}
		g := fmt.Sprintf("line-%d", i%50)
		if c.groups[g] == nil {
			c.groups[g] = &cloudGroup{parent: "plant"}
		}
		c.groups[g].things = append(c.groups[g].things, fmt.Sprintf("thing-%05d", i))
	}
	c.groups["plant"] = &cloudGroup{}
	c.policies["no-secrets"] = &cloudPolicy{versions: []string{denySome}, targets: []string{arnRoot + "thinggroup/plant"}}
	return c
}

// TestLargeFleet pulls 2,000 things with 400 certificates, and with EBBGATE_SOAK=1
// 10,000 with 2,000; the gateway takes the result. Lists come in pages, so there are few calls but those for
// each thing and certificate. Without a socket, which the race detector makes
// slow; the SDK's requests and answers are the same.
func TestLargeFleet(t *testing.T) {
	things := 2_000
	if os.Getenv("EBBGATE_SOAK") == "1" {
		things = 10_000
	}
	c := fleetOf(t, things)
	dir := t.TempDir()
	a := openAccount(t, Options{Parallel: 16, transport: c})
	r := mustPull(t, a, PullOptions{Out: dir})
	if r.Things != things || r.Certificates != things/5 || r.Groups != 51 || len(r.Notes) != 0 {
		t.Errorf("%d things, %d certificates, %d groups, notes %v", r.Things, r.Certificates, r.Groups, r.Notes)
	}
	e, err := policy.Load(policy.Options{Things: dir + "/things.yaml", Policies: dir + "/policies"})
	if err != nil || e.Things() != things {
		t.Fatal(err)
	}
	others := 0
	for call, n := range c.calls {
		if call != "ListThingPrincipalsV2" && call != "DescribeCertificate" {
			others += n
		}
	}
	if c.calls["ListThings"] != things/250 || c.calls["ListThingPrincipalsV2"] != things || others > 200 {
		t.Errorf("calls %v", c.calls)
	}
	info, err := os.Stat(dir + "/things.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("things.yaml has %d bytes", info.Size())
}

// TestIAMPolicy holds the IAM policy of the guide to the calls that are made:
// not one action less, and not one more.
func TestIAMPolicy(t *testing.T) {
	c := plant(t)
	c.decideLike(t, nil)
	a := c.open(t, Options{})
	dir := t.TempDir()
	mustPull(t, a, PullOptions{Out: dir, Versions: true})
	if _, err := a.Verify(t.Context(), VerifyOptions{Policies: dir + "/policies", Things: dir + "/things.yaml"}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for call := range c.calls {
		want = append(want, "iot:"+call)
	}
	slices.Sort(want)
	guide, err := os.ReadFile("../../" + guide)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(guide), "```json\n")
	text, _, closed := strings.Cut(text, "```")
	var p struct {
		Statement []struct {
			Effect, Resource string
			Action           []string
		}
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil || !ok || !closed || len(p.Statement) != 1 || p.Statement[0].Effect != "Allow" || p.Statement[0].Resource != "*" {
		t.Fatal("the guide has no IAM policy of one statement first:", err)
	}
	if got := slices.Sorted(slices.Values(p.Statement[0].Action)); !slices.Equal(got, want) {
		t.Errorf("the guide allows\n\t%q\nneeded is\n\t%q", got, want)
	}
}
