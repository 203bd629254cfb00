package account

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"

	"github.com/ebbgate/ebbgate/policy"
)

// VerifyOptions say what to ask AWS about.
type VerifyOptions struct {
	Policies string          // the folder of documents, as pulled
	Things   string          // the registry; empty: the documents are asked about one by one
	Cases    []Case          // cases to ask; none: questions are derived from documents and things
	Limit    int             // most questions to derive; 0 is no limit
	Switches policy.Switches // of our side
}

// Verification is what AWS and this engine said to the same questions.
type Verification struct {
	Account     string       `json:"account"`
	Region      string       `json:"region"`
	Asked       int          `json:"asked"`
	Left        int          `json:"left"` // questions beyond the limit
	Differences []Comparison `json:"differences"`
	Skipped     []Skipped    `json:"skipped"`
	Notes       []Note       `json:"notes"`
}

// Comparison is one question with both answers.
type Comparison struct {
	Name      string   `json:"name"` // of the case, or what the question was derived from
	ClientID  string   `json:"client_id"`
	Principal string   `json:"principal,omitempty"`
	Policies  []string `json:"policies"` // AWS's names
	Action    string   `json:"action"`
	Resource  string   `json:"resource"`

	Here        string   `json:"here"` // ALLOWED, EXPLICIT_DENY, IMPLICIT_DENY
	HereBy      []string `json:"here_by"`
	HereMissing []string `json:"here_missing"`
	AWS         string   `json:"aws"`
	AWSBy       []string `json:"aws_by"`
	AWSMissing  []string `json:"aws_missing"`
}

// Skipped is a question that AWS cannot be asked, or did not answer.
type Skipped struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// question is one to ask on both sides.
type question struct {
	name      string
	here      func(context.Context) (policy.Answer, error)
	clientID  string
	principal string   // ARN; empty: nobody in particular
	policies  []string // AWS's names: those that apply
	attached  []string // AWS's names: what the principal has anyway
	ask       policy.Question
}

// verification is a Verify under way.
type verification struct {
	*Account
	opts   VerifyOptions
	prefix string                     // of ARNs: arn:aws:iot:eu-central-1:123456789012:
	docs   map[string]policy.Document // by name here
	theirs map[string]string          // name here → AWS's
	fleet  *fleet                     // nil without a registry
	engine *policy.Engine
	desk   *policy.Desk
	out    *Verification
}

// Verify puts the same questions to AWS and to our own engine. Our side uses
// the documents and the registry that opts name, AWS what is in the account.
func (a *Account) Verify(ctx context.Context, opts VerifyOptions) (*Verification, error) {
	v := &verification{Account: a, opts: opts, out: &Verification{Region: a.region, Differences: []Comparison{}, Skipped: []Skipped{}, Notes: []Note{}}}
	if err := v.identify(ctx); err != nil {
		return nil, err
	}
	if err := v.load(); err != nil {
		return nil, err
	}
	questions, err := v.questions()
	if err != nil {
		return nil, err
	}
	if questions, err = v.inAccount(ctx, questions); err != nil {
		return nil, err
	}
	return v.out, v.compare(ctx, questions)
}

// identify learns whose account it is, for the ARNs of the questions.
func (v *verification) identify(ctx context.Context) error {
	out, err := v.client.ListPolicies(ctx, &iot.ListPoliciesInput{PageSize: aws.Int32(1)})
	if err != nil {
		return explained(ctx, err)
	}
	if len(out.Policies) == 0 {
		return fmt.Errorf("the account has no IoT policies in %s, so there is nothing to compare; check --region and --profile", v.region)
	}
	p, ok := readARN(text(out.Policies[0].PolicyArn))
	if !ok {
		return fmt.Errorf("AWS names a policy by %q, which is no ARN", oneLine(fmt.Errorf("%s", text(out.Policies[0].PolicyArn))))
	}
	v.out.Account = p.account
	v.prefix = "arn:" + p.partition + ":iot:" + v.region + ":" + p.account + ":"
	return nil
}

// load reads what our side decides by. Region and account are compared as at
// AWS: a document for another one allows nothing there.
func (v *verification) load() error {
	arn, _ := readARN(v.prefix + "policy/x")
	o := policy.DefaultOptions()
	o.Policies, o.Things, o.Switches = v.opts.Policies, v.opts.Things, v.opts.Switches
	o.Partition, o.Region, o.Account = arn.partition, v.region, v.out.Account
	var err error
	if v.engine, err = policy.Load(o); err != nil {
		return err
	}
	if v.desk, err = policy.NewDesk(o); err != nil {
		return err
	}
	v.docs, v.theirs = map[string]policy.Document{}, map[string]string{}
	entries, err := os.ReadDir(v.opts.Policies)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !v.engine.HasPolicy(name) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(v.opts.Policies, e.Name()))
		if err != nil {
			return err
		}
		v.docs[name], v.theirs[name] = policy.Document{Name: name, Text: text}, name
	}
	record, err := readRecord(filepath.Join(filepath.Dir(filepath.Clean(v.opts.Policies)), accountFile))
	if err != nil {
		return err
	}
	for _, p := range record.Policies {
		v.theirs[p.Here] = p.Name
	}
	if v.opts.Things != "" {
		v.fleet, err = readFleet(v.opts.Things)
	}
	return err
}

// inAccount drops the questions about documents that the account does not
// have, and notes those that it has otherwise.
func (v *verification) inAccount(ctx context.Context, questions []question) ([]question, error) {
	here := map[string]string{}
	for h, name := range v.theirs {
		here[name] = h
	}
	var used []string
	for _, q := range questions {
		used = append(used, q.policies...)
	}
	slices.Sort(used)
	missing := map[string]bool{}
	for i, name := range slices.Compact(used) {
		v.progress(Progress{Stage: stageDocuments, Done: i})
		out, err := v.client.GetPolicy(ctx, &iot.GetPolicyInput{PolicyName: &name})
		switch {
		case err != nil && gone(err):
			missing[name] = true
		case err != nil:
			return nil, explained(ctx, err)
		case !same([]byte(text(out.PolicyDocument)), v.docs[here[name]].Text):
			v.out.Notes = append(v.out.Notes, Note{fmt.Sprintf("policy %q", name), "is another document in the account than here; pull again before you trust a difference"})
		}
	}
	var out []question
	for _, q := range questions {
		if i := slices.IndexFunc(q.policies, func(name string) bool { return missing[name] }); i >= 0 {
			v.skip(q.name, fmt.Sprintf("policy %q is not in the account", q.policies[i]))
			continue
		}
		out = append(out, q)
	}
	return out, nil
}

func (v *verification) skip(name, why string) {
	v.out.Skipped = append(v.out.Skipped, Skipped{name, why})
}
