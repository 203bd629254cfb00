package account

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/policy"
)

// TestPull reads an account with something of everything, in pages of one.
func TestPull(t *testing.T) {
	c := plant(t)
	c.page = 1
	out := t.TempDir()
	var stages []string
	a := c.open(t, Options{now: someday, Progress: func(p Progress) {
		if p.Done == p.Total && !slices.Contains(stages, p.Stage) {
			stages = append(stages, p.Stage)
		}
	}})
	r := mustPull(t, a, PullOptions{Out: out, Versions: true})
	if r.Account != owner || r.Policies != 2 || r.Things != 2 || r.Groups != 3 || r.Types != 2 || r.Certificates != 2 {
		t.Errorf("report %+v", r)
	}
	files := tree(t, out)
	if got := files["policies/device.json"]; got != byThing {
		t.Errorf("the document in force is %s", got)
	}
	if files["versions/device/1.json"] != allowAll || files["versions/device/2.json"] != byThing || files["versions/no-secrets/1.json"] != denySome {
		t.Error("versions")
	}
	id := ""
	for k, v := range c.certificates {
		if v.status == "ACTIVE" {
			id = k
		}
		if files["certs/"+k+".pem"] != v.pem {
			t.Error("the PEM of", k)
		}
	}
	mustContain(t, files["things.yaml"],
		"account 123456789012, region eu-central-1, as of 2026-11-21",
		`attributes: {fw: "007", line: a, on: "true"}`, "groups: [line-a, old]", "certificates: ["+id+"]",
		"plant: {policies: [no-secrets]}", "line-a: {parent: plant}",
		"# valid 2023-11-14 to 2049-03-22", id+": {policies: [device], exclusive: true}",
		made(2)+": {status: INACTIVE, policies: [device]}")
	if strings.Contains(files["things.yaml"], "99999999") {
		t.Error("a Cognito identity is no certificate")
	}
	mustContain(t, files["account.json"], `"account": "123456789012"`, "eu-central-1:11111111-2222", "eu-central-1:99999999-2222", `"query": "attributes.fw:007"`, `"searchable_attributes"`, `"not_after": "2049-03-22T04:26:40Z"`, `"default_version": "2"`, `"town": "ulm"`)
	notes := ""
	for _, n := range r.Notes {
		notes += n.Subject + " " + n.Text + "\n"
	}
	mustContain(t, notes, `policy "no-secrets" is attached to 1 identity of Amazon Cognito`, `thing "press-2" has 1 principal that is no certificate`,
		`group "old" is dynamic (attributes.fw:007)`, "thing groups 1 group has attributes", "2 types (1 without things, 1 deprecated)", "SNI_ONLY")
	e, err := policy.Load(policy.Options{Things: filepath.Join(out, "things.yaml"), Policies: filepath.Join(out, "policies")})
	if err != nil || e.Things() != 2 || e.Policies() != 2 {
		t.Error("the gateway does not take it:", err)
	}
	for _, s := range []string{stagePolicies, stageDocuments, stageAttachments, stageGroups, stageMembers, stageTypes, stageThings, stagePrincipals, stageCertificates, stagePEM} {
		if !slices.Contains(stages, s) {
			t.Errorf("no progress of %s", s)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(out, workFolder, "next")); len(left) > 0 {
		t.Error("something is left over")
	}

	// The same again changes nothing, and says so.
	if r := mustPull(t, a, PullOptions{Out: out, Versions: true}); len(r.Changes) > 0 || r.Resumed != 0 {
		t.Errorf("the second pull has %+v, %d resumed", r.Changes, r.Resumed)
	}
	for name, text := range tree(t, out) {
		if files[name] != text {
			t.Errorf("%s is another", name)
		}
	}
}

// TestSiteKeepsItsOwn has users, a thing with a certificate file, a document
// and notes that AWS knows nothing of.
func TestSiteKeepsItsOwn(t *testing.T) {
	c := plant(t)
	out := t.TempDir()
	_, mine := issue(t, "gauge")
	write(t, out, map[string]string{
		"things.yaml": `# Ours.
things:
  gauge: {certificates: [certs/gauge.pem], policies: [operator]}
  press-1: {type: wrong}
certificates:
  certs/gauge.pem: {status: INACTIVE}
# Who may use the panel.
users:
  panel: {policies: [operator], thing: press-1} # Hall 3
`,
		"policies/operator.json": allowAll, "policies/device.json": denySome, "policies/README.md": "notes",
		"certs/gauge.pem": mine, "ebbgate.yaml": "untouched",
	})
	a := c.open(t, Options{now: someday})
	before := tree(t, out)
	dry := mustPull(t, a, PullOptions{Out: out, DryRun: true})
	for name, text := range tree(t, out) {
		if before[name] != text {
			t.Errorf("a dry run changed %s", name)
		}
	}
	if _, err := os.Stat(filepath.Join(out, workFolder)); err == nil {
		t.Error("a dry run left its folder behind")
	}
	r := mustPull(t, a, PullOptions{Out: out})
	if !slices.Equal(dry.Changes, r.Changes) || !slices.Equal(dry.Kept, r.Kept) {
		t.Errorf("the dry run said %v, %v", dry.Changes, dry.Kept)
	}
	for _, want := range []Change{{"changed", "policy", "device"}, {"added", "policy", "no-secrets"}, {"changed", "thing", "press-1"}, {"added", "thing", "press-2"}, {"added", "group", "plant"}} {
		if !slices.Contains(r.Changes, want) {
			t.Errorf("%v is not in %v", want, r.Changes)
		}
	}
	if !slices.Equal(r.Kept, []string{"policy operator", "thing gauge", "certificate certs/gauge.pem", "user panel"}) {
		t.Errorf("kept %q", r.Kept)
	}
	files := tree(t, out)
	mustContain(t, files["things.yaml"], "gauge: {certificates: [certs/gauge.pem], policies: [operator]}", "certs/gauge.pem: {status: INACTIVE}",
		"# Who may use the panel.\nusers:\n", "panel: {policies: [operator], thing: press-1} # Hall 3", "type: press\n")
	if files["policies/operator.json"] != allowAll || files["policies/README.md"] != "notes" || files["certs/gauge.pem"] != mine || files["ebbgate.yaml"] != "untouched" {
		t.Error("something of the site is lost")
	}
	previous, err := os.ReadFile(filepath.Join(out, workFolder, "previous", "things.yaml"))
	if err != nil || string(previous) != before["things.yaml"] {
		t.Error("what was replaced is not kept:", err)
	}

	// What AWS deletes goes, what is ours stays.
	delete(c.things, "press-2")
	delete(c.policies, "no-secrets")
	delete(c.certificates, made(2))
	c.policies["device"].targets = c.policies["device"].targets[:1]
	for _, g := range c.groups {
		g.things = slices.DeleteFunc(g.things, func(n string) bool { return n == "press-2" })
	}
	r = mustPull(t, a, PullOptions{Out: out})
	want := []Change{{"removed", "policy", "no-secrets"}, {"removed", "thing", "press-2"}, {"changed", "group", "plant"}, {"removed", "certificate", made(2)}}
	if !slices.Equal(r.Changes, want) {
		t.Errorf("changes %v", r.Changes)
	}
	files = tree(t, out)
	if _, there := files["certs/"+made(2)+".pem"]; there || files["policies/operator.json"] != allowAll {
		t.Error("certificates or documents")
	}
}

// TestOnlyPart leaves the other part as it is.
func TestOnlyPart(t *testing.T) {
	c := plant(t)
	out := t.TempDir()
	a := c.open(t, Options{now: someday})
	mustPull(t, a, PullOptions{Out: out, Only: OnlyPolicies})
	files := tree(t, out)
	if files["things.yaml"] != "" || files["policies/device.json"] == "" || c.calls["ListThings"] > 0 {
		t.Error("only policies:", files, c.calls)
	}
	clear(c.calls)
	mustPull(t, a, PullOptions{Out: out, Only: OnlyRegistry, NoPEM: true})
	files = tree(t, out)
	if files["things.yaml"] == "" || c.calls["GetPolicy"]+c.calls["DescribeCertificate"] > 0 {
		t.Error("only the registry:", c.calls)
	}
	mustContain(t, files["account.json"], `"default_version": "2"`, `"press-1"`)
	mustPull(t, a, PullOptions{Out: out, Only: OnlyPolicies})
	mustContain(t, tree(t, out)["account.json"], `"press-1"`)

	// A registry alone that names documents which are not here does not load.
	_, err := a.Pull(t.Context(), PullOptions{Out: t.TempDir(), Only: OnlyRegistry})
	if err == nil {
		t.Fatal("a registry without documents was taken")
	}
	mustContain(t, err.Error(), `there is no policy "device"`, "nothing was replaced")
}

// TestOtherAccount does not replace one account's things by another's, nor by
// those of one that is empty.
func TestOtherAccount(t *testing.T) {
	dir := t.TempDir()
	mustPull(t, plant(t).open(t, Options{}), PullOptions{Out: dir})
	before := tree(t, dir)
	_, err := newCloud(t).open(t, Options{}).Pull(t.Context(), PullOptions{Out: dir})
	if err == nil {
		t.Fatal("replaced by nothing")
	}
	mustContain(t, err.Error(), "was pulled from account 123456789012, eu-central-1, and this one is empty in eu-central-1; name another folder")
	write(t, dir, map[string]string{"account.json": strings.ReplaceAll(before["account.json"], owner, "999999999999")})
	_, err = plant(t).open(t, Options{}).Pull(t.Context(), PullOptions{Out: dir})
	if err == nil {
		t.Fatal("replaced by another account's")
	}
	mustContain(t, err.Error(), "was pulled from account 999999999999, eu-central-1, and this one is 123456789012, eu-central-1")
	if tree(t, dir)["things.yaml"] != before["things.yaml"] {
		t.Error("replaced")
	}
}

// TestThingsElsewhere takes the site's own entries from a registry in another
// folder, with its paths made right.
func TestThingsElsewhere(t *testing.T) {
	c := plant(t)
	root := t.TempDir()
	_, mine := issue(t, "gauge")
	write(t, root, map[string]string{"etc/things.yaml": "things: {gauge: {certificates: [pki/gauge.pem]}}\n", "etc/pki/gauge.pem": mine})
	mustPull(t, c.open(t, Options{}), PullOptions{Out: filepath.Join(root, "new"), Things: filepath.Join(root, "etc", "things.yaml")})
	mustContain(t, tree(t, root)["new/things.yaml"], "gauge: {certificates: [../etc/pki/gauge.pem]}")
	if _, err := policy.Load(policy.Options{Things: filepath.Join(root, "new", "things.yaml"), Policies: filepath.Join(root, "new", "policies")}); err != nil {
		t.Error(err)
	}
}

// TestDocumentThatDoesNotLoad replaces nothing, and asks anew the next time.
func TestDocumentThatDoesNotLoad(t *testing.T) {
	c := plant(t)
	out := t.TempDir()
	a := c.open(t, Options{now: someday})
	mustPull(t, a, PullOptions{Out: out})
	before := tree(t, out)
	good := c.policies["device"].versions
	c.policies["device"].versions = []string{strings.Replace(byThing, "Effect", "effect", 1)}
	_, err := a.Pull(t.Context(), PullOptions{Out: out})
	if err == nil {
		t.Fatal("taken")
	}
	mustContain(t, err.Error(), filepath.Join(out, workFolder, "next", "policies", "device.json")+":1:", `write "Effect"`, "nothing was replaced")
	for name, text := range tree(t, out) {
		if before[name] != text {
			t.Errorf("%s was replaced", name)
		}
	}
	if _, err := a.Pull(t.Context(), PullOptions{Out: out, DryRun: true}); err == nil || !strings.Contains(err.Error(), filepath.Join(out, "policies", "device.json")+":1:") || strings.Contains(err.Error(), os.TempDir()+"/ebbgate-pull") {
		t.Error("a dry run says", err)
	}
	c.policies["device"].versions = good
	if r := mustPull(t, a, PullOptions{Out: out}); r.Resumed != 0 || len(r.Changes) != 0 {
		t.Errorf("after the correction: %d resumed, %v", r.Resumed, r.Changes)
	}
}
