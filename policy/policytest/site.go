package policytest

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

// Site is the documents and the registry that clients are tested against.
type Site struct {
	documents []Source
	engine    *policy.Engine   // nil without a registry file
	rules     []string         // files of the operator's own Rego beside the documents
	own       *policy.OwnRules // compiled; nil when there are none
}

// Own are the operator's own rules beside the documents; nil when there are none.
func (s *Site) Own() *policy.OwnRules { return s.own }

// disk is what a site is read from.
type disk interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]os.DirEntry, error)
	Load(policy.Options) (*policy.Engine, error)
}

// machine is this machine's disk.
type machine struct{}

func (machine) ReadFile(name string) ([]byte, error)             { return readFile(name, maxDocument) }
func (machine) ReadDir(name string) ([]os.DirEntry, error)       { return os.ReadDir(name) }
func (machine) Load(opts policy.Options) (*policy.Engine, error) { return policy.Load(opts) }

// OpenSite reads policy documents, from files and folders, and the registry
// when things is not empty; the registry finds its documents in the one folder
// that is named then. The error of a wrong registry is [policy.Faults].
func OpenSite(paths []string, things string) (*Site, error) {
	return openSite(machine{}, paths, things)
}

func openSite(d disk, paths []string, things string) (*Site, error) {
	s := &Site{}
	for _, path := range paths {
		documents, rules, err := readDocuments(d, path)
		if err != nil {
			return nil, err
		}
		if err := s.add(documents...); err != nil {
			return nil, err
		}
		s.rules = append(s.rules, rules...)
	}
	var err error
	if s.own, err = policy.ReadOwnRules(context.Background(), s.rules...); err != nil || things == "" {
		return s, err
	}
	if len(paths) != 1 {
		return nil, errors.New("a registry names its policies by the files of one folder; name one folder of policies beside it")
	}
	if _, err := d.ReadDir(paths[0]); err != nil {
		return nil, fmt.Errorf("%s: a registry needs a folder of policies; name the folder that holds <name>.json for each policy that %s attaches", paths[0], things)
	}
	s.engine, err = d.Load(policy.Options{Policies: paths[0], Things: things})
	return s, err
}

func (s *Site) add(documents ...Source) error {
	for _, d := range documents {
		if other := s.find(d.Name); other != nil {
			return fmt.Errorf("%s: there is a policy %q already, in %s; name one of them otherwise", d.File, d.Name, other.File)
		}
		s.documents = append(s.documents, d)
	}
	return nil
}

func (s *Site) find(name string) *Source {
	for i := range s.documents {
		if s.documents[i].Name == name {
			return &s.documents[i]
		}
	}
	return nil
}

// readDocuments reads a document, or those of a folder, of which it also lists
// the files of the operator's own rules. A folder is read as the gateway reads
// it: a file that it refuses could be a Deny, and is refused here.
func readDocuments(d disk, path string) (out []Source, rules []string, err error) {
	entries, err := d.ReadDir(path)
	if err != nil {
		s, err := readDocument(d, path)
		return []Source{s}, nil, err
	}
	for _, e := range entries {
		kind, err := policy.FolderEntry(path, e)
		switch {
		case err != nil:
			return nil, nil, err
		case kind == policy.FolderRules:
			rules = append(rules, filepath.Join(path, e.Name()))
		case kind == policy.FolderDocument:
			s, err := readDocument(d, filepath.Join(path, e.Name()))
			if err != nil {
				return nil, nil, err
			}
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, nil, fmt.Errorf("%s: there is no policy in the folder; put <name>.json files into it", path)
	}
	return out, rules, nil
}

func readDocument(d disk, path string) (Source, error) {
	text, err := d.ReadFile(path)
	if err != nil {
		return Source{}, fmt.Errorf("%s: %s; name a policy document, or a folder of them", path, reason(err))
	}
	name := strings.TrimSuffix(filepath.Base(path), ".json")
	return Source{Document: policy.Document{Name: name, Text: text}, File: path, Line: 1}, nil
}

// Client is a client in the words of a person who asks about it.
type Client struct {
	ID          string
	Thing       string // the thing whose certificate it presents
	Certificate string // id, or a PEM file
	User        string
	Listener    string
	Attached    []string // the policies of its listener, for a user
	Policies    []string // exactly these; nil: those that the registry gives, or all
	Groups      []string // policies attached to a thing group, likewise
}

// Stand finds the documents that apply to a client and what is known of it.
func (s *Site) Stand(c Client) ([]Source, policy.Context, error) {
	context := policy.Context{ClientID: c.ID}
	id, cert, err := certificateOf(machine{}, c.Certificate)
	if err != nil {
		return nil, context, err
	}
	own := c.Policies != nil || c.Groups != nil
	if s.engine != nil {
		standing, err := s.engine.Standing(policy.Who{ClientID: c.ID, Thing: c.Thing, Certificate: id, X509: cert, User: c.User, Policies: c.Attached})
		switch {
		case err == nil && !own:
			documents, err := s.named(standing.Policies, policy.TargetCertificate)
			standing.Context.Listener = c.Listener
			return documents, standing.Context, err
		case err == nil:
			context = standing.Context
		case !own:
			return nil, context, err
		}
	}
	context.Listener = c.Listener
	if c.User != "" {
		context.User = c.User
	}
	if c.Thing != "" && context.ThingName == "" {
		context.ThingName, context.ThingAttached = c.Thing, true
	}
	if context.Certificate == nil && cert != nil {
		context.Certificate = policy.CertificateFacts(cert)
	} else if context.Certificate == nil && id != "" {
		context.Certificate = &policy.CertificateContext{ID: id}
	}
	if !own {
		return s.documents, context, nil
	}
	documents, err := s.named(c.Policies, policy.TargetCertificate)
	if err != nil {
		return nil, context, err
	}
	groups, err := s.named(c.Groups, policy.TargetThingGroup)
	return append(documents, groups...), context, err
}

func (s *Site) named(names []string, target string) ([]Source, error) {
	var out []Source
	for _, name := range names {
		d := s.find(name)
		if d == nil {
			return nil, fmt.Errorf("there is no policy %q; there are %s", name, s.names())
		}
		if slices.ContainsFunc(out, func(o Source) bool { return o.Name == name }) {
			continue
		}
		attached := *d
		attached.Target = target
		out = append(out, attached)
	}
	return out, nil
}

func (s *Site) names() string {
	var names []string
	for _, d := range s.documents {
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

var certificateID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// certificateOf reads a certificate's id, or the certificate itself from a PEM
// file.
func certificateOf(d disk, text string) (id string, cert *x509.Certificate, err error) {
	if text == "" || certificateID.MatchString(text) {
		return text, nil, nil
	}
	raw, err := d.ReadFile(text)
	if err != nil {
		return "", nil, fmt.Errorf("certificate %s: %s; give its id, 64 lower-case hex digits, or the path of a PEM file", text, reason(err))
	}
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			return "", nil, fmt.Errorf("certificate %s: there is none in the file; name a PEM file", text)
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", nil, fmt.Errorf("certificate %s is damaged: %w; name another file", text, err)
		}
		return policy.CertificateFacts(cert).ID, cert, nil
	}
}
