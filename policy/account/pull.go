package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ebbgate/ebbgate/policy"
)

// Part is a part of an account.
type Part string

// The parts that can be pulled alone.
const (
	Everything   Part = ""
	OnlyPolicies Part = "policies" // the documents; things.yaml stays
	OnlyRegistry Part = "registry" // things, groups, certificates, attachments; the documents stay
)

// PullOptions say what to pull and where to.
type PullOptions struct {
	Out      string // the folder that gets things.yaml, policies, certs and account.json
	Things   string // registry whose own entries are kept; empty: Out's, if there is one
	Only     Part
	Versions bool // also all versions of the policies, into the folder versions
	NoPEM    bool // do not ask for each certificate's PEM and dates
	DryRun   bool // change nothing, and say what would change
	Restart  bool // forget what an interrupted pull has fetched
}

// Report is what a pull found and did.
type Report struct {
	Account      string   `json:"account"`
	Region       string   `json:"region"`
	Out          string   `json:"out"`
	DryRun       bool     `json:"dry_run"`
	Resumed      int      `json:"resumed"` // answers taken from an interrupted pull
	Policies     int      `json:"policies"`
	Things       int      `json:"things"`
	Groups       int      `json:"groups"`
	Types        int      `json:"types"`
	Certificates int      `json:"certificates"`
	Kept         []string `json:"kept"` // the site's own entries and documents
	Changes      []Change `json:"changes"`
	Notes        []Note   `json:"notes"`
}

// Change is a difference between what was there and what was pulled.
type Change struct {
	What string `json:"what"` // "added", "changed" or "removed"
	Kind string `json:"kind"` // "policy", "thing", "group", "certificate"
	Name string `json:"name"`
}

// InvalidError says that what the account holds cannot be loaded here. Nothing
// was replaced.
type InvalidError struct {
	Folder string // where the pulled files are; empty after a dry run
	Err    error
}

// Error has a line for each fault, and one for what became of the files.
func (e *InvalidError) Error() string {
	if e.Folder == "" {
		return fmt.Sprintf("%v\nwhat the account holds does not load here", e.Err)
	}
	return fmt.Sprintf("%v\nwhat was pulled does not load here, so nothing was replaced; the files are in %s", e.Err, e.Folder)
}

// Unwrap is what loading said.
func (e *InvalidError) Unwrap() error { return e.Err }

// Pull reads the account and replaces the files in opts.Out by what it found.
// When it fails, or ctx ends, the old files are as they were, and what was
// fetched is taken up by the next call.
func (a *Account) Pull(ctx context.Context, opts PullOptions) (*Report, error) {
	work := filepath.Join(opts.Out, workFolder)
	if opts.DryRun {
		// A dry run leaves nothing behind, not even in the folder.
		var err error
		if work, err = os.MkdirTemp("", "ebbgate-pull-"); err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(work) }()
	} else {
		if err := os.MkdirAll(work, 0o755); err != nil {
			return nil, fmt.Errorf("%w; name a folder that can be written with --out", err)
		}
	}
	now := a.now().UTC()
	j, err := openJournal(filepath.Join(work, "journal.jsonl"), journalHead{Region: a.region, Endpoint: a.endpoint, Started: now}, opts.Restart)
	if err != nil {
		return nil, err
	}
	defer func() { _ = j.close() }()
	swap := &swap{out: opts.Out, work: work}
	if !opts.DryRun {
		if err := swap.finish(); err != nil {
			return nil, err
		}
	}
	// Before the first call: what cannot be kept should not cost an hour.
	s, err := readSite(opts.Out, opts.Things)
	if err != nil {
		return nil, err
	}
	f := &fetch{Account: a, journal: j, want: opts, before: &s.before, found: &inventory{Format: inventoryFormat, Region: a.region, PulledAt: now}}
	if err := f.all(ctx); err != nil {
		if opts.DryRun {
			return nil, err
		}
		return nil, &InterruptedError{Err: err, Kept: j.answers()}
	}
	if err := f.sameAccount(); err != nil { // not known before of an empty one
		return nil, err
	}
	f.found.assemble()
	return a.place(f, s, swap)
}

// InterruptedError says that a pull ended early. What it fetched is kept.
type InterruptedError struct {
	Err  error
	Kept int // answers in the journal
}

// Error says how to go on.
func (e *InterruptedError) Error() string {
	text := e.Err.Error()
	if errors.Is(e.Err, context.Canceled) {
		text = "interrupted"
	}
	if e.Kept == 0 {
		return text + "; nothing was replaced"
	}
	return fmt.Sprintf("%s; nothing was replaced, and the same command goes on from here (%s kept)", text, count(e.Kept, "answer"))
}

// Unwrap is why it ended.
func (e *InterruptedError) Unwrap() error { return e.Err }

// place builds the files, proves that they load, and puts them in place.
func (a *Account) place(f *fetch, s *site, to *swap) (*Report, error) {
	b, err := build(f.found, f.want, s, to)
	if err != nil {
		return nil, err
	}
	if err := b.loads(); err != nil {
		// All was fetched. What is wrong will be put right in the account, so
		// the next pull must ask again.
		return nil, errors.Join(err, f.journal.clear())
	}
	changes, err := b.changes()
	if err != nil {
		return nil, err
	}
	r := &Report{
		Account: f.found.Account, Region: a.region, Out: f.want.Out, DryRun: f.want.DryRun, Resumed: f.journal.old,
		Policies: len(f.found.Policies), Things: len(f.found.Things), Groups: len(f.found.Groups), Types: len(f.found.Types), Certificates: len(f.found.Certificates),
		Kept: list(b.kept), Changes: list(changes), Notes: list(f.found.Notes),
	}
	if f.want.DryRun {
		return r, nil
	}
	return r, to.apply(b.names)
}

// list is never null in JSON.
func list[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}

// loads proves that the gateway would take the files.
func (b *built) loads() error {
	opts := policy.DefaultOptions()
	opts.Policies, opts.Things = b.policies, b.check
	_, err := policy.Load(opts)
	if err == nil {
		return nil
	}
	if _, faulty := errors.AsType[policy.Faults](err); !faulty {
		return fmt.Errorf("nothing was replaced, for the pulled files cannot be checked: %w", err)
	}
	text := err.Error()
	if b.things != nil { // the check's file is the one to come but for absolute paths: name that
		text = strings.ReplaceAll(text, b.check, filepath.Join(b.to.next(), thingsFile))
	}
	if b.want.DryRun { // its folder is gone in a moment
		return &InvalidError{Err: errors.New(strings.ReplaceAll(text, b.to.next(), b.want.Out))}
	}
	return &InvalidError{Folder: b.to.next(), Err: errors.New(text)}
}

// encodeAccount writes account.json.
func encodeAccount(v *inventory) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%s: %w", accountFile, err)
	}
	return out.Bytes(), nil
}
