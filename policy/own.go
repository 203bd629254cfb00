package policy

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// FolderFile is what the gateway takes a file of its policies folder for.
type FolderFile byte

// What a file can be.
const (
	FolderNote     FolderFile = iota // passed over: notes, tests of rules, what editors leave behind
	FolderDocument                   // <policy>.json
	FolderRules                      // <name>.rego
)

// FolderEntry says what an entry of a policies folder is. An entry that could be
// meant as a policy, and cannot be read as one, is a [Fault]: it may be a Deny.
func FolderEntry(folder string, e fs.DirEntry) (FolderFile, error) {
	file := filepath.Join(folder, e.Name())
	name, isJSON := strings.CutSuffix(e.Name(), ".json")
	switch {
	case passedOver(e.Name()):
		return FolderNote, nil
	case !e.IsDir() && strings.HasSuffix(e.Name(), ".rego"):
		return FolderRules, nil
	case e.IsDir() || !isJSON:
		return FolderNote, Fault{File: file, Text: "this is not a policy document", Remedy: "name it <policy>.json (rules of your own: <name>.rego), or move it out of the folder"}
	case !policyName.MatchString(name):
		return FolderNote, Fault{File: file, Text: "the name is not one of a policy", Remedy: "use up to 128 letters, digits and _+=,.@-"}
	}
	return FolderDocument, nil
}

// OwnRules are the operator's own Rego, as it stands beside the documents, for a
// [Desk]: it takes away from what documents allow.
type OwnRules struct{ rules *siteRules }

// ownPatience is how long rules may take at a desk for one answer. There it is
// the gateway's longest, since a busy machine must not fail a test; in the gateway
// rules that take longer than rego_timeout deny.
const ownPatience = 5 * time.Second

// ReadOwnRules compiles the operator's own rules from files, and from folders
// what the gateway would read there; nil when there are none. What is wrong in
// them is [Faults].
func ReadOwnRules(ctx context.Context, paths ...string) (*OwnRules, error) {
	texts := map[string][]byte{}
	var faults Faults
	read := func(file string) {
		text, err := readFile(file, maxFile)
		if err != nil {
			faults = append(faults, Fault{File: file, Text: reason(err), Remedy: "name a file of Rego, or a folder with some"})
		}
		texts[file] = text
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			read(path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			faults = append(faults, Fault{File: path, Text: reason(err), Remedy: "name a folder that can be read"})
		}
		for _, e := range entries {
			if kind, err := FolderEntry(path, e); err == nil && kind == FolderRules {
				read(filepath.Join(path, e.Name()))
			}
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	rules, faults := newSiteRules(ctx, texts, SiteOptions{Timeout: ownPatience}, time.Now)
	if len(faults) > 0 || rules == nil {
		return nil, faults.orNil()
	}
	return &OwnRules{rules}, nil
}

// Under is a desk under the operator's own rules; nil stands for none.
func (d *Desk) Under(own *OwnRules) *Desk {
	out := *d
	out.own = own
	return &out
}

// denied asks the operator's own rules about what the documents allow.
func (d *Desk) denied(ctx context.Context, in *inquiry) *siteAnswer {
	if d.own == nil {
		return &siteAnswer{}
	}
	return d.own.rules.ask(ctx, in.principal, &in.request)
}

// ownInput is input.principal of the operator's own rules. A thing is there only
// when it is the connection's.
func (c Context) ownInput(s session, documents []*document) map[string]any {
	st := standing{session: s, groups: c.ThingGroups}
	for _, d := range documents {
		if d != nil { // one that is wrong
			st.policies = append(st.policies, d.name)
		}
	}
	if s.http || !s.attached || !s.exclusive && s.thing != s.clientID {
		st.session.thing = ""
	}
	p := &bridge.Principal{ClientID: s.clientID, User: c.User, Listener: c.Listener, ServerName: s.domain, Protocol: 5}
	if s.http {
		p.Protocol = 0
	}
	if p.User == "" && s.certificate != nil {
		p.User = s.certificate.id
	}
	return sitePrincipal(st, p)
}
