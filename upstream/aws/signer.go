package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// The names under which AWS IoT Core is signed for.
const (
	serviceMQTT = "iotdevicegateway" // a WebSocket (B09)
	serviceHTTP = "iotdata"          // HTTPS publish
)

// Credentials are looked for anew so long before their end, and so often. Whoever hands
// them out may keep them until they end: till then they are good.
const (
	aheadOfEnd = 5 * time.Minute
	lookAgain  = 10 * time.Second
)

// Signer signs with credentials that it finds when they are needed. It is safe
// for concurrent use.
type Signer struct {
	o      Options
	region string
	mqtt   string // the service of WebSockets
	http   string // the service of requests
	v4     *v4.Signer
	now    func() time.Time

	mu       sync.Mutex
	provider sdk.CredentialsProvider // nil: to be looked for
	have     sdk.Credentials         // what it gave last; empty: nothing
	looked   time.Time               // when it was asked
	forgot   int                     // how often that was forgotten
}

// NewSigner makes a signer from valid options for a region. Nothing is looked
// for before it signs.
func NewSigner(o Options, region string) *Signer {
	if o.Region != "" {
		region = o.Region
	}
	return &Signer{o: o, region: region, mqtt: serviceMQTT, http: serviceHTTP, v4: v4.NewSigner(), now: time.Now}
}

// SignURL signs a WebSocket's address, in its query. ends is when the
// credentials do, zero for never. They are looked for anew each time: a
// connection is made seldom, and files may have changed.
//
// AWS IoT Core wants the session token behind the signature and not in it.
func (s *Signer) SignURL(ctx context.Context, address string) (signed string, ends time.Time, err error) {
	s.Forget()
	c, err := s.credentials(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", time.Time{}, errors.New("the address is not a URL")
	}
	scheme := u.Scheme
	u.Scheme = map[string]string{"wss": "https", "ws": "http"}[scheme]
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", time.Time{}, errors.New("the address is not one of a WebSocket")
	}
	signed, _, err = s.v4.PresignHTTP(ctx, c, r, hashOf(nil), s.mqtt, s.region, s.now(), withoutToken)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign: %w", err)
	}
	_, rest, _ := strings.Cut(signed, "://")
	signed = scheme + "://" + rest
	if c.SessionToken != "" {
		signed += "&X-Amz-Security-Token=" + url.QueryEscape(c.SessionToken)
	}
	if c.CanExpire {
		ends = c.Expires
	}
	return signed, ends, nil
}

func withoutToken(o *v4.SignerOptions) { o.DisableSessionToken = true }

// SignRequest signs a request with its body, in its header.
func (s *Signer) SignRequest(r *http.Request, body []byte) error {
	c, err := s.credentials(r.Context())
	if err != nil {
		return err
	}
	if err := s.v4.SignHTTP(r.Context(), c, r, hashOf(body), s.http, s.region, s.now()); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}

// Forget drops the credentials, so that the next signature looks for them anew:
// those at hand were refused.
func (s *Signer) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.provider, s.have = nil, sdk.Credentials{}
	s.forgot++
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// credentials are what to sign with now.
func (s *Signer) credentials(ctx context.Context) (sdk.Credentials, error) {
	now := s.now()
	s.mu.Lock()
	p, have, forgot := s.provider, s.have, s.forgot
	good := have.HasKeys() && lasts(have, now)
	if good && (lasts(have, now.Add(aheadOfEnd)) || now.Sub(s.looked) < lookAgain) {
		s.mu.Unlock()
		return have, nil
	}
	s.looked = now
	s.mu.Unlock()
	c, err := s.look(ctx, p, forgot)
	switch {
	case err == nil && lasts(c, now):
		return c, nil
	case good:
		return have, nil
	case err != nil:
		return sdk.Credentials{}, err
	}
	s.Forget()
	return sdk.Credentials{}, fmt.Errorf("the credentials of %s ended at %s", c.Source, c.Expires.UTC().Format(time.RFC3339))
}

// lasts reports whether credentials have not ended at a time.
func lasts(c sdk.Credentials, at time.Time) bool { return !c.CanExpire || at.Before(c.Expires) }

// look asks a provider, or one that it finds, for credentials, and keeps what it says
// unless that is to be forgotten meanwhile.
func (s *Signer) look(ctx context.Context, p sdk.CredentialsProvider, forgot int) (c sdk.Credentials, err error) {
	if p == nil {
		if p, err = s.find(ctx); err != nil {
			return c, err
		}
	} else if cache, ok := p.(interface{ Invalidate() }); ok {
		cache.Invalidate() // it would keep them until they end
	}
	if c, err = p.Retrieve(ctx); err != nil {
		return c, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgot == forgot {
		s.provider, s.have = p, c
	}
	return c, nil
}

// find is AWS's chain, or the keys of the options.
func (s *Signer) find(ctx context.Context) (sdk.CredentialsProvider, error) {
	if s.o.AccessKeyID != "" {
		c := sdk.Credentials{
			AccessKeyID: s.o.AccessKeyID, SecretAccessKey: string(s.o.SecretAccessKey),
			SessionToken: string(s.o.SessionToken), Source: "the configuration",
		}
		return sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return c, nil }), nil
	}
	load := []func(*config.LoadOptions) error{
		config.WithRegion(s.region),
		config.WithAppID("ebbgate"),
		config.WithLogger(logging.Nop{}), // what matters comes as an error
	}
	if s.o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(s.o.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, err
	}
	return cfg.Credentials, nil
}
