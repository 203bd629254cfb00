package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/smithy-go/logging"
)

// Options say which account, and how hard to ask it. The zero value is the
// account of the SDK's chain: environment, shared files, single sign-on,
// container and instance roles.
type Options struct {
	Profile  string // of the shared files; empty: AWS_PROFILE, or "default"
	Region   string // empty: AWS_REGION, or the profile's
	Endpoint string // URL of the control plane; empty: AWS's own for the region
	Parallel int    // calls at a time; 0 is 8

	// Progress is told what is being read and how far it is, from one goroutine
	// at a time. The last call of a stage has Done equal to Total.
	Progress func(Progress)

	transport iot.HTTPClient   // for tests; nil is the network
	now       func() time.Time // for tests; nil is time.Now
}

// Progress is how far one stage of a pull or a verification is.
type Progress struct {
	Stage string // "things", "principals of things"
	Done  int
	Total int // 0 while it is not known
}

const (
	// parallel calls hide the round trip; the quotas of the control plane, ten
	// a second for most calls, bound the rate long before.
	parallel = 8
	// answer is the longest that one attempt may take.
	answer = 30 * time.Second
)

// Account is an AWS account, seen through the control plane of AWS IoT in one
// region. It is safe for concurrent use, but one pull at a time goes to a folder.
type Account struct {
	client   *iot.Client
	region   string
	endpoint string
	parallel int
	progress func(Progress)
	now      func() time.Time
}

// Open finds region and credentials. It asks for credentials once, so that
// their absence is one clear error and not one for each call.
func Open(ctx context.Context, o Options) (*Account, error) {
	var client config.HTTPClient = awshttp.NewBuildableClient().WithTimeout(answer)
	if o.transport != nil {
		client = o.transport
	}
	// One for all calls, so that what one learns the others keep to.
	retryer := newPace()
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithRetryer(func() aws.Retryer { return retryer }),
		config.WithAppID("ebbgate"),
		config.WithLogger(logging.Nop{}), // what matters comes as an error
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("the AWS configuration cannot be read: %s; correct the shared files or --profile", oneLine(err))
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region is known; add --region eu-central-1, set AWS_REGION, or give the profile one")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("no AWS credentials: %s; log in (aws sso login), name a profile with --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", oneLine(err))
	}
	a := &Account{region: cfg.Region, endpoint: o.Endpoint, parallel: o.Parallel, progress: o.Progress, now: o.now}
	if a.parallel <= 0 {
		a.parallel = parallel
	}
	if a.progress == nil {
		a.progress = func(Progress) {}
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.client = iot.NewFromConfig(cfg, func(c *iot.Options) {
		if o.Endpoint != "" {
			c.BaseEndpoint = aws.String(o.Endpoint)
		}
	})
	return a, nil
}

// Region is where the account is read.
func (a *Account) Region() string { return a.region }
