package s3

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// The SDK tries each request twice: a second attempt is what it takes to learn
// how wrong our clock is. All else is the caller's patience.
const (
	attempts   = 2
	attemptGap = 300 * time.Millisecond
)

// newClient makes the SDK's client. Nothing is connected, and no credentials are
// looked for, before the first request.
func newClient(ctx context.Context, o Options, web *http.Client) (*s3.Client, error) {
	load := []func(*config.LoadOptions) error{
		config.WithAppID("ebbgate"),
		config.WithLogger(logging.Nop{}), // what matters comes as an error
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.AccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: o.AccessKeyID, SecretAccessKey: string(o.SecretAccessKey), SessionToken: string(o.SessionToken), Source: "the configuration"}, nil
		})))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("credentials for S3: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	return s3.NewFromConfig(cfg, func(c *s3.Options) {
		c.HTTPClient, c.UsePathStyle = web, o.PathStyle
		if o.Endpoint != "" {
			c.BaseEndpoint = aws.String(o.Endpoint)
		}
		c.Credentials = credentials{c.Credentials}
		c.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts, r.MaxBackoff = attempts, attemptGap })
		// Checksums are ours: those that the SDK would add need a trailer, which
		// not every store understands.
		c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		c.DisableLogOutputChecksumValidationSkipped = true
	}), nil
}

// onceOnly has the SDK send a request again only when the store has refused it for our
// clock. What an answer was lost of may have been done: an upload that is begun twice
// leaves one of which nobody has the id.
func onceOnly(o *s3.Options) {
	o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts, r.MaxBackoff = attempts, attemptGap
		r.Retryables = []retry.IsErrorRetryable{retry.RetryableError{}}
	})
}

// credentials marks an error as one of them.
type credentials struct{ aws.CredentialsProvider }

// Retrieve implements aws.CredentialsProvider.
func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return got, &noCredentials{err}
	}
	return got, nil
}

// noCredentials is that there are none.
type noCredentials struct{ error }

// Unwrap is why.
func (e *noCredentials) Unwrap() error { return e.error }

// Hooks are told what requests cost, and say when bytes of files may go. Each may be
// nil; those that are told must not block.
type Hooks struct {
	Pace    bridge.FilePace
	Carried func(bytes int)        // bytes at the sockets, TLS included
	Request func(operation string) // one HTTP request that the store has answered: "UploadPart"
}

// newWeb makes the HTTP client: HTTP/1.1, as S3 speaks it, through a proxy if
// there is one.
func newWeb(o Options, h Hooks, clock *storeClock) (*http.Client, error) {
	conf, err := (upstream.TLSOptions{CA: o.CA}).Config("")
	if err != nil {
		return nil, err
	}
	reach := upstream.NewDialer(o.Proxy)
	return &http.Client{
		// A redirect leads to another region, and what is sent there is lost.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &counting{request: h.Request, clock: clock, Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, o.Timeout)
				defer cancel()
				c, err := reach.Dial(ctx, address)
				if err != nil {
					return nil, err
				}
				return &patient{upstream.Counted(c, h.Carried), o.Timeout}, nil
			},
			TLSClientConfig:     conf,
			TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2
			TLSHandshakeTimeout: o.Timeout,
			IdleConnTimeout:     o.Timeout,
			MaxIdleConnsPerHost: 2,
			DisableCompression:  true, // an object's bytes are what they are
			WriteBufferSize:     64 << 10,
		}},
	}, nil
}

// patient is a connection that fails when nothing has moved on it for so long. A
// large body on a thin link moves, whatever it takes.
type patient struct {
	net.Conn
	silence time.Duration
}

// Read implements io.Reader.
func (c *patient) Read(b []byte) (int, error) {
	c.moved()
	return c.Conn.Read(b)
}

// Write implements io.Writer.
func (c *patient) Write(b []byte) (int, error) {
	c.moved()
	return c.Conn.Write(b)
}

// moved makes waiting reads and writes wait anew.
func (c *patient) moved() { _ = c.SetDeadline(time.Now().Add(c.silence)) } // fails on what is closed only, as they do then

// counting tells of each request that was answered, and the clock what time the answer
// says.
type counting struct {
	*http.Transport
	request func(operation string)
	clock   *storeClock
}

// RoundTrip implements http.RoundTripper.
func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.Transport.RoundTrip(r)
	if err == nil {
		c.clock.hear(answer.Header)
	}
	if err == nil && c.request != nil {
		c.request(middleware.GetOperationName(r.Context()))
	}
	return answer, err
}
