package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

func (f *fetch) types(ctx context.Context) error {
	listed, err := pages(ctx, f, stageTypes, func(ctx context.Context, token *string) ([]types.ThingTypeDefinition, *string, error) {
		out, err := f.client.ListThingTypes(ctx, &iot.ListThingTypesInput{NextToken: token, MaxResults: aws.Int32(page)})
		if err != nil {
			return nil, nil, err
		}
		return out.ThingTypes, out.NextToken, nil
	})
	for _, l := range listed {
		t := typeRecord{Name: text(l.ThingTypeName)}
		if q := l.ThingTypeProperties; q != nil {
			t.Description, t.Searchable = text(q.ThingTypeDescription), q.SearchableAttributes
		}
		if m := l.ThingTypeMetadata; m != nil {
			t.Deprecated = m.Deprecated
		}
		f.found.Types = append(f.found.Types, t)
	}
	slices.SortFunc(f.found.Types, func(a, b typeRecord) int { return strings.Compare(a.Name, b.Name) })
	return err
}

// principal is somebody who may speak for a thing.
type principal struct {
	Name      string `json:"name"` // an ARN, or a Cognito identity
	Exclusive bool   `json:"exclusive,omitempty"`
}

// things reads the things and who may speak for them.
func (f *fetch) things(ctx context.Context) error {
	listed, err := pages(ctx, f, stageThings, func(ctx context.Context, token *string) ([]types.ThingAttribute, *string, error) {
		out, err := f.client.ListThings(ctx, &iot.ListThingsInput{NextToken: token, MaxResults: aws.Int32(page)})
		if err != nil {
			return nil, nil, err
		}
		return out.Things, out.NextToken, nil
	})
	if err != nil {
		return err
	}
	byName := map[string]types.ThingAttribute{}
	for _, l := range listed {
		byName[text(l.ThingName)] = l
		if err := f.whose(text(l.ThingArn)); err != nil {
			return err
		}
	}
	all := names(listed, func(l types.ThingAttribute) string { return text(l.ThingName) })
	principals, err := f.principals(ctx, all)
	if err != nil {
		return err
	}
	for _, name := range all {
		found, ok := principals[name]
		if !ok {
			continue // gone meanwhile
		}
		t := thingRecord{Name: name, Type: text(byName[name].ThingTypeName), Attributes: byName[name].Attributes}
		for _, p := range found {
			a, ok := readARN(p.Name)
			if !ok || a.kind != "cert" {
				t.OtherPrincipals = append(t.OtherPrincipals, p.Name)
				continue
			}
			t.Certificates = append(t.Certificates, a.name)
			if p.Exclusive {
				t.Exclusive = append(t.Exclusive, a.name)
			}
		}
		f.found.Things = append(f.found.Things, t)
	}
	return nil
}

// errNoV2 says that the region does not tell how a principal is attached.
var errNoV2 = errors.New("ListThingPrincipalsV2 is not offered")

// principals reads who may speak for each thing, and whether for it alone.
// Where the region does not know the newer call the older one answers without
// the latter.
func (f *fetch) principals(ctx context.Context, things []string) (map[string][]principal, error) {
	out, err := each(ctx, f, stagePrincipals, things, func(ctx context.Context, name string) ([]principal, error) {
		list, err := whole(ctx, func(ctx context.Context, token *string) ([]types.ThingPrincipalObject, *string, error) {
			more, err := f.client.ListThingPrincipalsV2(ctx, &iot.ListThingPrincipalsV2Input{ThingName: &name, NextToken: token, MaxResults: aws.Int32(page)})
			if err != nil {
				return nil, nil, err
			}
			return more.ThingPrincipalObjects, more.NextToken, nil
		}, quietly)
		if notOffered(err) {
			return nil, errNoV2
		}
		if err != nil {
			return nil, err
		}
		var out []principal
		for _, o := range list {
			out = append(out, principal{text(o.Principal), o.ThingPrincipalType == types.ThingPrincipalTypeExclusiveThing})
		}
		slices.SortFunc(out, func(a, b principal) int { return strings.Compare(a.Name, b.Name) })
		return out, nil
	})
	if !errors.Is(err, errNoV2) {
		return out, err
	}
	f.found.note(stagePrincipals, "the region does not say which certificates are bound to one thing exclusively; add \"exclusive: true\" to them by hand")
	return each(ctx, f, stagePrincipals+", older call", things, func(ctx context.Context, name string) ([]principal, error) {
		list, err := whole(ctx, func(ctx context.Context, token *string) ([]string, *string, error) {
			more, err := f.client.ListThingPrincipals(ctx, &iot.ListThingPrincipalsInput{ThingName: &name, NextToken: token, MaxResults: aws.Int32(page)})
			if err != nil {
				return nil, nil, err
			}
			return more.Principals, more.NextToken, nil
		}, quietly)
		if err != nil {
			return nil, err
		}
		var out []principal
		for _, name := range list {
			out = append(out, principal{Name: name})
		}
		slices.SortFunc(out, func(a, b principal) int { return strings.Compare(a.Name, b.Name) })
		return out, nil
	})
}

// described is a certificate with what only the call for one tells.
type described struct {
	PEM       string     `json:"pem"`
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
}

func (f *fetch) certificates(ctx context.Context) error {
	listed, err := pages(ctx, f, stageCertificates, func(ctx context.Context, token *string) ([]types.Certificate, *string, error) {
		out, err := f.client.ListCertificates(ctx, &iot.ListCertificatesInput{Marker: token, PageSize: aws.Int32(page)})
		if err != nil {
			return nil, nil, err
		}
		return out.Certificates, out.NextMarker, nil
	})
	if err != nil {
		return err
	}
	byID := map[string]types.Certificate{}
	for _, l := range listed {
		byID[text(l.CertificateId)] = l
		if err := f.whose(text(l.CertificateArn)); err != nil {
			return err
		}
	}
	all := names(listed, func(l types.Certificate) string { return text(l.CertificateId) })
	details := map[string]described{}
	if !f.want.NoPEM {
		details, err = each(ctx, f, stagePEM, all, f.describe)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(id string) bool { _, ok := details[id]; return !ok })
	}
	for _, id := range all {
		l, d := byID[id], details[id]
		f.found.Certificates = append(f.found.Certificates, certificateRecord{
			ID: id, ARN: text(l.CertificateArn), Status: string(l.Status), Mode: string(l.CertificateMode),
			Created: l.CreationDate, NotBefore: d.NotBefore, NotAfter: d.NotAfter, PEM: d.PEM,
		})
	}
	return nil
}

func (f *fetch) describe(ctx context.Context, id string) (described, error) {
	out, err := f.client.DescribeCertificate(ctx, &iot.DescribeCertificateInput{CertificateId: &id})
	if err != nil {
		return described{}, err
	}
	c := out.CertificateDescription
	if c == nil {
		return described{}, fmt.Errorf("AWS describes certificate %s with nothing", id)
	}
	d := described{PEM: text(c.CertificatePem)}
	if c.Validity != nil {
		d.NotBefore, d.NotAfter = c.Validity.NotBefore, c.Validity.NotAfter
	}
	return d, nil
}

// groups reads the groups with their parents and members. Those that a policy
// is attached to or that are somebody's parent are read even if the list
// lacks them.
func (f *fetch) groups(ctx context.Context) error {
	listed, err := pages(ctx, f, stageGroups, func(ctx context.Context, token *string) ([]types.GroupNameAndArn, *string, error) {
		out, err := f.client.ListThingGroups(ctx, &iot.ListThingGroupsInput{NextToken: token, MaxResults: aws.Int32(page), Recursive: aws.Bool(true)})
		if err != nil {
			return nil, nil, err
		}
		return out.ThingGroups, out.NextToken, nil
	})
	if err != nil {
		return err
	}
	wanted := names(listed, func(l types.GroupNameAndArn) string { return text(l.GroupName) })
	for _, p := range f.found.Policies {
		for _, target := range p.Targets {
			if a, ok := readARN(target); ok && a.kind == "thinggroup" && !slices.Contains(wanted, a.name) {
				wanted = append(wanted, a.name)
			}
		}
	}
	known := map[string]groupRecord{}
	for len(wanted) > 0 {
		found, err := each(ctx, f, stageGroups, wanted, f.group)
		if err != nil {
			return err
		}
		var parents []string
		for name, g := range found {
			known[name] = g
			parents = append(parents, g.Parent)
		}
		slices.Sort(parents)
		tried := wanted
		wanted = slices.DeleteFunc(slices.Compact(parents), func(name string) bool {
			_, ok := known[name]
			return name == "" || ok || slices.Contains(tried, name)
		})
	}
	all := make([]string, 0, len(known))
	for name := range known {
		all = append(all, name)
	}
	slices.Sort(all)
	members, err := each(ctx, f, stageMembers, all, f.members)
	if err != nil {
		return err
	}
	for _, name := range all {
		if list, ok := members[name]; ok {
			g := known[name]
			g.Members = list
			f.found.Groups = append(f.found.Groups, g)
		}
	}
	return nil
}

func (f *fetch) group(ctx context.Context, name string) (groupRecord, error) {
	out, err := f.client.DescribeThingGroup(ctx, &iot.DescribeThingGroupInput{ThingGroupName: &name})
	if err != nil {
		return groupRecord{}, err
	}
	g := groupRecord{Name: name, ARN: text(out.ThingGroupArn), Query: text(out.QueryString)}
	if m := out.ThingGroupMetadata; m != nil {
		g.Parent = text(m.ParentGroupName)
	}
	if q := out.ThingGroupProperties; q != nil {
		g.Description = text(q.ThingGroupDescription)
		if q.AttributePayload != nil {
			g.Attributes = q.AttributePayload.Attributes
		}
	}
	return g, nil
}

func (f *fetch) members(ctx context.Context, name string) ([]string, error) {
	return whole(ctx, func(ctx context.Context, token *string) ([]string, *string, error) {
		more, err := f.client.ListThingsInThingGroup(ctx, &iot.ListThingsInThingGroupInput{ThingGroupName: &name, NextToken: token, MaxResults: aws.Int32(page)})
		if err != nil {
			return nil, nil, err
		}
		return more.Things, more.NextToken, nil
	}, quietly)
}
