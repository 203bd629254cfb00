package account

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// built is the new state of a folder, complete but not yet in its place.
type built struct {
	want     PullOptions
	site     *site
	to       *swap
	names    []string // what is to be put in place
	kept     []string // the site's own
	policies string   // the policies folder that the new registry goes with
	check    string   // the registry file to load: the new one with absolute paths
	things   []byte   // the new things.yaml, nil when it stays
	file     map[string][]byte
}

// build writes all new files into the folder beside the old ones.
func build(found *inventory, want PullOptions, s *site, to *swap) (*built, error) {
	b := &built{want: want, site: s, to: to, file: map[string][]byte{}}
	if err := to.begin(); err != nil {
		return nil, err
	}
	if err := b.documents(found); err != nil {
		return nil, err
	}
	if err := b.registry(found); err != nil {
		return nil, err
	}
	record := *found
	switch want.Only { // what was not read is as it was
	case OnlyPolicies:
		record.Groups, record.Types, record.Things, record.Certificates = s.before.Groups, s.before.Types, s.before.Things, s.before.Certificates
	case OnlyRegistry:
		record.Policies = merged(found.Policies, s.before.Policies)
	}
	raw, err := encodeAccount(&record)
	if err != nil {
		return nil, err
	}
	return b, b.write(accountFile, raw, true)
}

// merged gives the records of policies whose documents were not read what the
// last pull knew of them.
func merged(now, before []policyRecord) []policyRecord {
	out := slices.Clone(now)
	for i, p := range out {
		k := slices.IndexFunc(before, func(o policyRecord) bool { return o.Name == p.Name })
		if k >= 0 {
			was := before[k]
			was.Targets, was.Here = p.Targets, p.Here
			out[i] = was
		}
	}
	return out
}

// documents writes the policies folder: the account's, and the site's own.
func (b *built) documents(found *inventory) error {
	b.policies = filepath.Join(b.site.out, policiesFolder)
	if b.want.Only == OnlyRegistry {
		b.file = b.site.file
		return nil
	}
	b.policies = filepath.Join(b.to.next(), policiesFolder)
	for _, p := range found.Policies {
		b.file[p.Here+".json"] = []byte(p.Document)
	}
	theirs := map[string]bool{}
	for _, p := range b.site.before.Policies {
		theirs[p.Here+".json"] = true
	}
	folded := map[string]string{}
	for name := range b.file {
		folded[strings.ToLower(name)] = name
	}
	for _, name := range slices.Sorted(maps.Keys(b.site.file)) {
		if theirs[name] || b.file[name] != nil {
			continue
		}
		if other, ok := folded[strings.ToLower(name)]; ok {
			return fmt.Errorf("%s and the account's %s differ only in case; rename the site's own", filepath.Join(b.site.out, policiesFolder, name), other)
		}
		b.file[name] = b.site.file[name]
		if policy, ok := strings.CutSuffix(name, ".json"); ok {
			b.kept = append(b.kept, "policy "+policy)
		}
	}
	for name, raw := range b.file {
		if err := b.write(filepath.Join(policiesFolder, name), raw, true); err != nil {
			return err
		}
	}
	if err := b.folder(policiesFolder); err != nil { // there even when empty
		return err
	}
	if !b.want.Versions {
		return nil
	}
	for _, p := range found.Policies {
		for _, v := range p.Versions {
			if err := b.write(filepath.Join(versionsFolder, p.Here, v.ID+".json"), []byte(v.Document), true); err != nil {
				return err
			}
		}
	}
	return b.folder(versionsFolder)
}

// registry writes things.yaml and the certificates.
func (b *built) registry(found *inventory) error {
	if b.want.Only == OnlyPolicies {
		if _, err := os.Stat(filepath.Join(b.site.out, thingsFile)); err == nil {
			b.check = filepath.Join(b.site.out, thingsFile)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	r := &registry{found: found, site: b.site}
	if !b.want.NoPEM {
		r.pem = filepath.Join(b.to.next(), pemFolder)
	}
	check, err := r.render(true)
	if err != nil {
		return err
	}
	b.check = filepath.Join(b.to.work, "check.yaml")
	if err := os.WriteFile(b.check, check, 0o600); err != nil {
		return err
	}
	if b.things, err = r.render(false); err != nil {
		return err
	}
	b.kept = append(b.kept, r.local...)
	if err := b.write(thingsFile, b.things, true); err != nil {
		return err
	}
	if b.want.NoPEM {
		return nil
	}
	return b.certificates(found)
}

func (b *built) certificates(found *inventory) error {
	theirs := map[string]bool{}
	for _, c := range b.site.before.Certificates {
		theirs[c.ID+".pem"] = true
	}
	for _, c := range found.Certificates {
		theirs[c.ID+".pem"] = true
		if c.PEM == "" {
			continue
		}
		// Not synced: nothing depends on them but explanations, and a gateway's
		// flash has better to do than to sync ten thousand files.
		if err := b.write(filepath.Join(pemFolder, c.ID+".pem"), []byte(c.PEM), false); err != nil {
			return err
		}
	}
	for _, name := range b.site.pem {
		if theirs[name] {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(b.site.out, pemFolder, name))
		if err != nil {
			return err
		}
		if err := b.write(filepath.Join(pemFolder, name), raw, true); err != nil {
			return err
		}
	}
	return b.folder(pemFolder)
}

func (b *built) folder(name string) error {
	b.name(name)
	return os.MkdirAll(filepath.Join(b.to.next(), name), 0o755)
}

// name marks the file or folder to be put in place.
func (b *built) name(path string) {
	first, _, _ := strings.Cut(filepath.ToSlash(path), "/")
	if !slices.Contains(b.names, first) {
		b.names = append(b.names, first)
	}
}

func (b *built) write(path string, raw []byte, sync bool) error {
	b.name(path)
	full := filepath.Join(b.to.next(), path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// changes compares what was there with what comes.
func (b *built) changes() ([]Change, error) {
	var out []Change
	diff := func(kind string, before, after map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(after)) {
			if was, ok := before[name]; !ok {
				out = append(out, Change{"added", kind, name})
			} else if was != after[name] {
				out = append(out, Change{"changed", kind, name})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(before)) {
			if _, ok := after[name]; !ok {
				out = append(out, Change{"removed", kind, name})
			}
		}
	}
	if b.want.Only != OnlyRegistry {
		diff("policy", documentsOf(b.site.file), documentsOf(b.file))
	}
	if b.things == nil {
		return out, nil
	}
	var root yaml.Node
	if err := yaml.Unmarshal(b.things, &root); err != nil {
		return nil, fmt.Errorf("%s: %w", thingsFile, err)
	}
	after := map[string]*yaml.Node{}
	for key, value := range members(root.Content[0]) {
		after[key.Value] = value
	}
	for _, section := range sections {
		was, err := meanings(b.site.section[section])
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", b.site.things, section, err)
		}
		is, err := meanings(after[section])
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", thingsFile, section, err)
		}
		diff(kinds[section], was, is)
	}
	return out, nil
}

func documentsOf(files map[string][]byte) map[string]string {
	out := map[string]string{}
	for name, raw := range files {
		if policy, ok := strings.CutSuffix(name, ".json"); ok && !strings.HasPrefix(name, ".") {
			out[policy] = string(raw)
		}
	}
	return out
}

// meanings is a section's entries in a form that says the same for the same,
// however it is written.
func meanings(n *yaml.Node) (map[string]string, error) {
	out := map[string]string{}
	for key, value := range members(n) {
		var v any
		if err := value.Decode(&v); err != nil {
			return nil, err
		}
		if m, ok := v.(map[string]any); ok && len(m) == 0 {
			v = nil
		}
		var text bytes.Buffer
		if err := json.NewEncoder(&text).Encode(v); err != nil {
			return nil, err
		}
		out[key.Value] = text.String()
	}
	return out, nil
}
