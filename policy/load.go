package policy

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxRegistry = 16 << 20 // bytes of things.yaml
	maxPEM      = 64 << 10 // bytes of a certificate's file
)

// snapshot is one state of documents and registry, with what is compiled from
// it. All but the cache is immutable.
type snapshot struct {
	gateway   gateway
	documents map[string]*document
	registry  *registry
	holdings  *holdings
	programs  *cache[string, *program]
	site      *siteRules // nil: the operator has no rules of its own
}

// loadSnapshot reads everything that opts names. Its error is Faults unless
// the rules themselves failed.
func loadSnapshot(ctx context.Context, r *rules, opts Options, now func() time.Time) (*snapshot, error) {
	s := &snapshot{gateway: opts.gateway(), registry: newRegistry(), programs: newCache[string, *program](maxPrograms)}
	documents, own, faults := loadDocuments(opts.Policies, s.gateway)
	s.documents = documents
	var wrong Faults
	s.site, wrong = newSiteRules(ctx, own, opts.Site, now)
	faults = append(faults, wrong...)
	if opts.Things != "" {
		registry, more := loadRegistry(opts.Things, documents)
		s.registry = registry
		faults = append(faults, more...)
	}
	if err := faults.orNil(); err != nil {
		return nil, err
	}
	sorted := make([]*document, 0, len(documents))
	for _, d := range documents {
		sorted = append(sorted, d)
	}
	slices.SortFunc(sorted, func(a, b *document) int { return strings.Compare(a.name, b.name) })
	var err error
	s.holdings, err = r.holdings(ctx, sorted, s.gateway)
	return s, err
}

var policyName = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)

// loadDocuments reads the folder. All documents are parsed, whatever is wrong
// with others, and a file that could be meant as one is never passed over. own
// are the texts of the operator's own rules.
func loadDocuments(folder string, g gateway) (documents map[string]*document, own map[string][]byte, faults Faults) {
	documents, own = map[string]*document{}, map[string][]byte{}
	if folder == "" {
		return documents, own, nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, Faults{{File: folder, Text: reason(err), Remedy: "create the folder and put <name>.json files into it, or set policy.policies"}}
	}
	for _, e := range entries {
		file, name := filepath.Join(folder, e.Name()), strings.TrimSuffix(e.Name(), ".json")
		kind, wrong := FolderEntry(folder, e)
		if fault, ok := errors.AsType[Fault](wrong); ok {
			faults = append(faults, fault)
		}
		if kind == FolderNote {
			continue
		}
		raw, err := readFile(file, maxFile)
		if err != nil {
			faults = append(faults, Fault{File: file, Text: reason(err), Remedy: "make it readable for the gateway"})
			continue
		}
		if kind == FolderRules {
			own[file] = raw
			continue
		}
		d, wrongs := parseDocument(name, file, raw, g)
		faults = append(faults, wrongs...)
		documents[name] = d // nil when wrong, so that the registry may name it
		if d == nil {
			documents[name] = &document{name: name}
		}
	}
	return documents, own, faults
}

// passedOver are notes, tests of rules, and what editors and mounts leave behind.
func passedOver(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".md") || strings.HasSuffix(name, "_test.rego")
}

func loadRegistry(file string, documents map[string]*document) (*registry, Faults) {
	raw, err := readFile(file, maxRegistry)
	if err != nil {
		return nil, Faults{{File: file, Text: reason(err), Remedy: "create it (docs/policy.md has an example), or set policy.things to an empty string"}}
	}
	return parseRegistry(file, raw, documents, func(path string) (string, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(file), path)
		}
		return idOfFile(path)
	})
}

// idOfFile is the id of the first certificate in a PEM file.
func idOfFile(path string) (string, error) {
	raw, err := readFile(path, maxPEM)
	if err != nil {
		return "", errors.New(path + ": " + reason(err))
	}
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			return "", errors.New(path + ": there is no certificate in the file")
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "", fmt.Errorf("%s: the certificate is damaged: %w", path, err)
		}
		return certificateID(block.Bytes), nil
	}
}

// certificateID is what AWS calls it: the SHA-256 of the DER in lower-case hex.
func certificateID(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// readFile reads a regular file of at most limit bytes, and one more byte of a
// longer one is enough to say so.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("the file has more than %d bytes", limit)
	}
	return raw, err
}

// reason is an error without the path, which stands before it already.
func reason(err error) string {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}
