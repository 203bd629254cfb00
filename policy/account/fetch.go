package account

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// fetch reads an account once. Lists are read anew, what costs a call an item
// is taken from the journal where it is there.
type fetch struct {
	*Account
	journal *journal
	want    PullOptions
	before  *inventory // of the last pull into the folder
	found   *inventory
}

// The stages, in their order, as progress and errors name them.
const (
	stagePolicies     = "policies"
	stageDocuments    = "policy documents"
	stageVersions     = "policy versions"
	stageAttachments  = "attachments"
	stageGroups       = "thing groups"
	stageMembers      = "members of groups"
	stageTypes        = "thing types"
	stageThings       = "things"
	stagePrincipals   = "principals of things"
	stageCertificates = "certificates"
	stagePEM          = "certificates' PEM and dates"
)

// all reads everything that is wanted.
func (f *fetch) all(ctx context.Context) error {
	if err := f.policies(ctx); err != nil {
		return err
	}
	if f.want.Only == OnlyPolicies {
		return nil
	}
	for _, step := range []func(context.Context) error{f.attachments, f.certificates, f.types, f.things, f.groups} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// next reads the page after a token, nil for the first, and returns the token
// of the one after it.
//
// The SDK has paginators. They take the client as an interface, which makes
// the linker keep each of its three hundred calls: 8 MB of them.
type next[T any] func(ctx context.Context, token *string) ([]T, *string, error)

// pages reads a list to its end, with progress.
func pages[T any](ctx context.Context, f *fetch, stage string, read next[T]) ([]T, error) {
	f.progress(Progress{Stage: stage})
	out, err := whole(ctx, read, func(n int) { f.progress(Progress{Stage: stage, Done: n}) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stage, explained(ctx, err))
	}
	f.progress(Progress{Stage: stage, Done: len(out), Total: len(out)})
	return out, nil
}

// whole reads a list to its end and tells how far it is.
func whole[T any](ctx context.Context, read next[T], told func(int)) ([]T, error) {
	out := []T{}
	for token := (*string)(nil); ; {
		page, after, err := read(ctx, token)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		told(len(out))
		if text(after) == "" {
			return out, nil
		}
		token = after
	}
}

// quietly is for lists that are one item of a stage.
func quietly(int) {}

// vanished stands in the journal for an item that was listed and then gone.
type vanished struct {
	Gone bool `json:"gone"`
}

// each asks about every item, several at a time, and returns the answers by
// item. An item that is gone meanwhile has none, and a note.
func each[T any](ctx context.Context, f *fetch, stage string, items []string, get func(context.Context, string) (T, error)) (map[string]T, error) {
	type answer struct {
		vanished
		Value T `json:"value"`
	}
	answers := make([]answer, len(items))
	var telling sync.Mutex // one call of progress at a time, in order
	done := -1
	step := func() {
		telling.Lock()
		defer telling.Unlock()
		done++
		f.progress(Progress{Stage: stage, Done: done, Total: len(items)})
	}
	step()
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(f.parallel)
	for i, item := range items {
		key := stage + "/" + item
		if f.journal.get(key, &answers[i]) {
			step()
			continue
		}
		g.Go(func() error {
			if within.Err() != nil {
				return nil // the first error is the one to tell
			}
			value, err := get(within, item)
			switch {
			case err != nil && gone(err):
				answers[i] = answer{vanished: vanished{true}}
			case err != nil:
				return explained(within, err)
			default:
				answers[i] = answer{Value: value}
			}
			if err := f.journal.put(key, answers[i]); err != nil {
				return err
			}
			step()
			return nil
		})
	}
	err := g.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stage, err)
	}
	out := make(map[string]T, len(items))
	for i, item := range items {
		if answers[i].Gone {
			f.found.note(stage, fmt.Sprintf("%q was deleted while the account was read", item))
			continue
		}
		out[item] = answers[i].Value
	}
	return out, nil
}

// names lists and sorts the names of records.
func names[T any](records []T, name func(T) string) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = name(r)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// whose learns from an ARN whose account this is, and holds the journal to it.
func (f *fetch) whose(arn string) error {
	p, ok := readARN(arn)
	if !ok || f.found.Account != "" {
		return nil
	}
	f.found.Partition, f.found.Account = p.partition, p.account
	var before string
	if f.journal.get(accountKey, &before) && before != p.account {
		return fmt.Errorf("the interrupted pull was of account %s, these credentials are for %s; add --restart to begin anew", before, p.account)
	}
	if err := f.sameAccount(); err != nil {
		return err
	}
	return f.journal.put(accountKey, p.account)
}

// sameAccount refuses to put one account's things in the place of another's:
// a wrong profile is a small mistake with a large effect.
func (f *fetch) sameAccount() error {
	b := f.before
	if b.Account == "" || b.Account == f.found.Account && b.Region == f.found.Region {
		return nil
	}
	found := "empty in " + f.found.Region
	if f.found.Account != "" {
		found = fmt.Sprintf("%s, %s", f.found.Account, f.found.Region)
	}
	return fmt.Errorf("the folder was pulled from account %s, %s, and this one is %s; name another folder with --out, or move %s away", b.Account, b.Region, found, accountFile)
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return strings.Clone(*p)
}
