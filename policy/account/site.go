package account

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// The names in the folder that a pull writes.
const (
	thingsFile     = "things.yaml"
	accountFile    = "account.json"
	policiesFolder = "policies"
	pemFolder      = "certs"
	versionsFolder = "versions"
	workFolder     = ".ebbgate-pull" // journal, what is being built, and what was replaced last
)

// site is what a folder held before a pull: what came from the account the
// last time, and what the site has of its own.
type site struct {
	out     string
	before  inventory // of the last pull; empty when there was none
	things  string    // the registry file that was read, "" without one
	section map[string]*yaml.Node
	heading map[string]*yaml.Node // the sections' keys, with their comments
	file    map[string][]byte     // documents in the policies folder, by file name
	pem     []string              // names in the certs folder
}

// sections of the registry, in the order in which they are written.
var sections = []string{"things", "groups", "certificates", "users"}

// readSite reads what is there. Of a registry that is not YAML nothing could
// be kept, so it is an error.
func readSite(out, things string) (*site, error) {
	s := &site{out: out, section: map[string]*yaml.Node{}, heading: map[string]*yaml.Node{}, file: map[string][]byte{}}
	var err error
	if s.before, err = readRecord(filepath.Join(out, accountFile)); err != nil {
		return nil, err
	}
	if err := s.readThings(things); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(out, policiesFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			return nil, fmt.Errorf("%s is no regular file; the folder is replaced whole, so move it out first", filepath.Join(out, policiesFolder, e.Name()))
		}
		if s.file[e.Name()], err = os.ReadFile(filepath.Join(out, policiesFolder, e.Name())); err != nil {
			return nil, err
		}
	}
	entries, err = os.ReadDir(filepath.Join(out, pemFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			return nil, fmt.Errorf("%s is no regular file; the folder is replaced whole, so move it out first", filepath.Join(out, pemFolder, e.Name()))
		}
		s.pem = append(s.pem, e.Name())
	}
	return s, nil
}

// readThings reads the registry: the one in the folder, or the one named.
func (s *site) readThings(things string) error {
	s.things = things
	if things == "" {
		s.things = filepath.Join(s.out, thingsFile)
	}
	raw, err := os.ReadFile(s.things)
	if errors.Is(err, fs.ErrNotExist) && things == "" {
		s.things = ""
		return nil
	}
	if err != nil {
		return err
	}
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		return fmt.Errorf("%s: %s; correct it first, for what the site has of its own is kept", s.things, oneLine(err))
	}
	if len(root.Content) == 0 || root.Content[0].Tag == "!!null" {
		return nil
	}
	if root.Content[0].Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d:%d: names with values are needed here; correct it first, for what the site has of its own is kept", s.things, root.Content[0].Line, root.Content[0].Column)
	}
	for key, value := range members(root.Content[0]) {
		if !slices.Contains(sections, key.Value) {
			return fmt.Errorf("%s:%d:%d: %q is no section of a registry; possible are %s", s.things, key.Line, key.Column, key.Value, strings.Join(sections, ", "))
		}
		s.section[key.Value], s.heading[key.Value] = value, key
	}
	return nil
}

// members goes over the keys and values of a mapping.
func members(n *yaml.Node) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// path finds a file that the registry names, relative to itself.
func (s *site) path(text string) string {
	if filepath.IsAbs(text) {
		return text
	}
	return filepath.Join(filepath.Dir(s.things), text)
}

// isPath reports whether a certificate is named by its file.
func isPath(text string) bool { return strings.ContainsAny(text, "./") }

// certificateID is the id of a certificate as the registry names it: the id
// itself, or a file with the certificate.
func (s *site) certificateID(text string) (string, error) {
	if !isPath(text) {
		return text, nil
	}
	raw, err := os.ReadFile(s.path(text))
	if err != nil {
		return "", err
	}
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			return "", fmt.Errorf("%s: there is no certificate in the file", s.path(text))
		}
		if block.Type == "CERTIFICATE" {
			sum := sha256.Sum256(block.Bytes)
			return hex.EncodeToString(sum[:]), nil
		}
	}
}

// readRecord reads what the last pull wrote of the account; nothing when there
// was none.
func readRecord(path string) (inventory, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return inventory{}, nil
	}
	if err != nil {
		return inventory{}, err
	}
	var v inventory
	if err := json.Unmarshal(raw, &v); err != nil || v.Format != inventoryFormat {
		return inventory{}, fmt.Errorf("%s is not a pull's record of this version; move it away, and everything that AWS has not is taken for the site's own", path)
	}
	return v, nil
}
