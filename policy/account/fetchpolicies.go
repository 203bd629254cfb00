package account

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

// page is the most that the calls of the control plane give at once.
const page = 250

// document is a policy's or a version's text with its dates, as the journal
// keeps it.
type document struct {
	Version  string     `json:"version"`
	Created  *time.Time `json:"created,omitempty"`
	Modified *time.Time `json:"modified,omitempty"`
	Text     string     `json:"text"`
}

// policies reads the documents in force, and the other versions if wanted.
func (f *fetch) policies(ctx context.Context) error {
	listed, err := pages(ctx, f, stagePolicies, func(ctx context.Context, token *string) ([]types.Policy, *string, error) {
		out, err := f.client.ListPolicies(ctx, &iot.ListPoliciesInput{Marker: token, PageSize: aws.Int32(page)})
		if err != nil {
			return nil, nil, err
		}
		return out.Policies, out.NextMarker, nil
	})
	if err != nil {
		return err
	}
	arns := map[string]string{}
	for _, l := range listed {
		arns[text(l.PolicyName)] = text(l.PolicyArn)
		if err := f.whose(text(l.PolicyArn)); err != nil {
			return err
		}
	}
	all := names(listed, func(l types.Policy) string { return text(l.PolicyName) })
	documents := map[string]document{}
	if f.want.Only != OnlyRegistry {
		if documents, err = each(ctx, f, stageDocuments, all, f.document); err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(name string) bool { _, ok := documents[name]; return !ok })
	}
	versions := map[string][]versionRecord{}
	if f.want.Versions && f.want.Only != OnlyRegistry {
		if versions, err = f.versions(ctx, all); err != nil {
			return err
		}
	}
	here := namesHere(all)
	for _, name := range all {
		d := documents[name]
		f.found.Policies = append(f.found.Policies, policyRecord{
			Name: name, Here: here[name], ARN: arns[name],
			Version: d.Version, Created: d.Created, Modified: d.Modified, Document: d.Text, Versions: versions[name],
		})
		if here[name] != name {
			f.found.note(fmt.Sprintf("policy %q", name), fmt.Sprintf("is called %q here, because not every file system can hold a file of its name beside the others", here[name]))
		}
	}
	return nil
}

func (f *fetch) document(ctx context.Context, name string) (document, error) {
	out, err := f.client.GetPolicy(ctx, &iot.GetPolicyInput{PolicyName: &name})
	if err != nil {
		return document{}, err
	}
	return document{text(out.DefaultVersionId), out.CreationDate, out.LastModifiedDate, text(out.PolicyDocument)}, nil
}

// versions reads all versions of all policies. The default one is asked for
// again: it may have changed since, and files that say different things under
// one number would be worse than a call.
func (f *fetch) versions(ctx context.Context, policies []string) (map[string][]versionRecord, error) {
	lists, err := each(ctx, f, stageVersions, policies, func(ctx context.Context, name string) ([]versionRecord, error) {
		out, err := f.client.ListPolicyVersions(ctx, &iot.ListPolicyVersionsInput{PolicyName: &name})
		if err != nil {
			return nil, err
		}
		var list []versionRecord
		for _, v := range out.PolicyVersions {
			list = append(list, versionRecord{ID: text(v.VersionId), Default: v.IsDefaultVersion, Created: v.CreateDate})
		}
		return list, nil
	})
	if err != nil {
		return nil, err
	}
	var items []string
	for _, name := range policies {
		for _, v := range lists[name] {
			items = append(items, name+"/"+v.ID) // a policy's name has no slash
		}
	}
	texts, err := each(ctx, f, "documents of versions", items, func(ctx context.Context, item string) (string, error) {
		name, id, _ := strings.Cut(item, "/")
		out, err := f.client.GetPolicyVersion(ctx, &iot.GetPolicyVersionInput{PolicyName: &name, PolicyVersionId: &id})
		if err != nil {
			return "", err
		}
		return text(out.PolicyDocument), nil
	})
	if err != nil {
		return nil, err
	}
	for name, list := range lists {
		for i := range list {
			list[i].Document = texts[name+"/"+list[i].ID]
		}
		lists[name] = slices.DeleteFunc(list, func(v versionRecord) bool { return v.Document == "" })
	}
	return lists, nil
}

// attachments reads what each policy is attached to. Asked this way round it
// is a call a policy; asked for each certificate and group it would be
// thousands.
func (f *fetch) attachments(ctx context.Context) error {
	targets, err := each(ctx, f, stageAttachments, names(f.found.Policies, func(p policyRecord) string { return p.Name }), func(ctx context.Context, name string) ([]string, error) {
		out, err := whole(ctx, func(ctx context.Context, token *string) ([]string, *string, error) {
			more, err := f.client.ListTargetsForPolicy(ctx, &iot.ListTargetsForPolicyInput{PolicyName: &name, Marker: token, PageSize: aws.Int32(page)})
			if err != nil {
				return nil, nil, err
			}
			return more.Targets, more.NextMarker, nil
		}, quietly)
		return distinct(out), err
	})
	if err != nil {
		return err
	}
	for i := range f.found.Policies {
		f.found.Policies[i].Targets = targets[f.found.Policies[i].Name]
	}
	return nil
}
