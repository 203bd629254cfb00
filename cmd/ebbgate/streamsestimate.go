package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/localbroker/delivery"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// streamPrices are the flags of a dry run of a download.
type streamPrices struct {
	dryRun                              bool
	region, getCost, outCost, linkPrice string
	devices                             int
}

// S3's prices of reading when nobody says others: those of S3 Standard in us-east-1 and
// of the first tier to the internet, as Amazon had them on its page of prices in 2025.
const (
	getPrice = "0.0004"
	outPrice = "0.09"
)

func (o *streamPrices) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&o.dryRun, "dry-run", false, "download nothing: say what it would cost, and why")
	fl.StringVar(&o.region, "region", defaultRegion, "AWS region of the prices of --dry-run")
	fl.IntVar(&o.devices, "devices", 1, "how many devices download it, in --dry-run")
	fl.StringVar(&o.getCost, "get-price", getPrice, "dollars for 1000 GET requests to S3, in --dry-run")
	fl.StringVar(&o.outCost, "out-price", outPrice, "dollars for a GB out of S3, in --dry-run")
	fl.StringVar(&o.linkPrice, "link-price", "", "dollars for a GB over the link, in --dry-run")
}

// check refuses what only a dry run makes use of, where there is none: who says how many
// devices there are expects a sum, and not a download.
func (o *streamPrices) check(cmd *cobra.Command) error {
	for _, flag := range []string{"region", "devices", "get-price", "out-price", "link-price"} {
		if !o.dryRun && cmd.Flags().Changed(flag) {
			return invalidf("--%s is for --dry-run, which says what a download would cost: add --dry-run, or leave it out", flag)
		}
	}
	return nil
}

// cloudMeter meters as the cloud does.
var cloudMeter = delivery.Meter{
	Up:   func(m *bridge.Message) int64 { return billing.Publish(m, billing.DefaultUnit) },
	Down: func(m *bridge.Message) int64 { return billing.Deliver(m, billing.DefaultUnit) },
	Ack:  billing.Puback(nil, billing.DefaultUnit),
}

// mostDevices bounds an estimate, so that its sums are numbers.
const mostDevices = 10_000_000

// streamEstimate is what a download would cost.
type streamEstimate struct {
	Plan    *delivery.Plan `json:"download"` // of one device
	Devices int            `json:"devices"`
	*transferEstimate
}

// The ways of a stream.
const (
	wayStreams = "MQTT file delivery by AWS IoT Core"
	wayOnce    = "the same through one gateway"
	wayFromS3  = "download from S3"
)

// estimate prices what devices take of a stream by themselves, the gateway's once for
// all of them, which is nil where it is not known, and the same bytes from S3.
func (o *streamPrices) estimate(each, once *delivery.Plan) (*streamEstimate, error) {
	prices := billing.BuiltIn()
	if _, ok := prices.Regions[o.region]; !ok {
		return nil, invalidf("--region %s: the list has no prices for it", o.region)
	}
	if o.devices < 1 || o.devices > mostDevices {
		return nil, invalidf("--devices %d: write 1 to %d", o.devices, mostDevices)
	}
	get, err := dollarsOf("--get-price", o.getCost)
	if err != nil {
		return nil, err
	}
	out, err := dollarsOf("--out-price", o.outCost)
	if err != nil {
		return nil, err
	}
	link, err := dollarsOf("--link-price", o.linkPrice)
	if err != nil {
		return nil, err
	}
	e := &transferEstimate{Size: each.Size, Region: o.region, AsOf: prices.AsOf}
	n := int64(o.devices)
	if once != each {
		e.Ways = append(e.Ways, o.byStreams(wayStreams, each, n, prices))
	}
	if once != nil {
		e.Ways = append(e.Ways, o.byStreams(wayOnce, once, 1, prices))
	}
	e.Ways = append(e.Ways, o.fromS3(each.Size+each.Cached, n, get, out)) // a device's own download is of all
	e.onLink(link)
	e.NotPriced = append([]string{
		"from a gateway to its devices: the site's own network, nothing is metered there",
		"the object that the stream is of, in S3, and what AWS takes for jobs",
		"what is asked again after lost connections, TLS and TCP (some 3 % of the bytes), free tiers, taxes",
	}, e.NotPriced...)
	return &streamEstimate{each, o.devices, e}, nil
}

// byStreams is a download by messages, so many times.
func (o *streamPrices) byStreams(name string, p *delivery.Plan, n int64, prices *billing.PriceList) wayCost {
	way := wayCost{Way: name, Requests: n * (p.Requests + p.Answers), Units: n * (p.Up + p.Down), Bytes: n * p.Wire}
	a, _ := prices.Cost(o.region, billing.Usage{Messages: way.Units}, false)
	way.USD, way.Range = a.String(), a.Range()
	way.Reasons = []string{
		fmt.Sprintf("%s of up to %s, %s and the one for the description: %s metered up, PUBACKs included, and %s down, for each of %s",
			count(int(p.Blocks), "block"), humanSize(int64(p.Block)), count(int(p.Requests-1), "request"), thousands(p.Up), thousands(p.Down), count(int(n), "download")),
		fmt.Sprintf("the price of the first tier of %s, of the list of %s; the free tier is not taken off", o.region, prices.AsOf),
	}
	return way
}

// fromS3 is the same bytes by HTTPS.
func (o *streamPrices) fromS3(size, n int64, per1000, perGB *big.Rat) wayCost {
	way := wayCost{Way: wayFromS3, Requests: n, Bytes: n * (size + s3Overhead)}
	usd := new(big.Rat)
	if per1000 != nil {
		usd.Add(usd, new(big.Rat).Mul(per1000, big.NewRat(n, 1000)))
		way.Reasons = append(way.Reasons, fmt.Sprintf("$%s for 1000 GET requests, %s", per1000.FloatString(4), sourceOf("--get-price", o.getCost, getPrice)))
	}
	if perGB != nil {
		usd.Add(usd, new(big.Rat).Mul(perGB, big.NewRat(n*size, 1<<30)))
		way.Reasons = append(way.Reasons, fmt.Sprintf("$%s for a GB (2^30 bytes) to the internet, %s", perGB.FloatString(4), sourceOf("--out-price", o.outCost, outPrice)))
	}
	if per1000 != nil || perGB != nil {
		way.USD = billing.Dollars(usd)
	}
	return way
}

// told prints an estimate.
func (e *streamEstimate) told(w io.Writer, asJSON bool, what string) error {
	if asJSON {
		return printIndented(w, e)
	}
	if e.Devices > 1 {
		what += ", for " + count(e.Devices, "device")
	}
	return e.print(w, what)
}

// plan asks for the description only, and says what the download would take: of a device,
// and of a gateway that fetches it for all.
func (o *streamsGet) plan(ctx context.Context, d *delivery.Download) (*streamEstimate, error) {
	each, err := d.Plan(ctx, cloudMeter)
	if err != nil {
		return nil, err
	}
	fetched := *d
	fetched.Block, fetched.Blocks = delivery.ChunkSize, 1
	fetched.Client = delivery.NewClient(o.thing, delivery.CBOR, nil)
	once := fetched.PlanOf(each, cloudMeter)
	return o.estimate(each, once)
}

// prefetchPlan is what the gateway says of a prefetch before it begins.
type prefetchPlan struct {
	*delivery.Plan
	Region string `json:"region"`
}

// ServeHTTP implements [http.Handler].
func (h planHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, id := h.g.streams, r.PathValue("id")
	switch {
	case s == nil || s.cloud == nil:
		http.Error(w, noCloudStreams, http.StatusConflict)
		return
	case !delivery.ValidID(id):
		http.Error(w, "that is no name of a stream: 1 to 128 letters, digits, '_' and '-'", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), planPatience)
	defer cancel()
	p, err := s.cloud.Plan(ctx, id, cloudMeter)
	switch {
	case errors.Is(err, delivery.ErrNoStream):
		http.Error(w, "the cloud has no stream "+id, http.StatusConflict)
	case err != nil:
		http.Error(w, "the cloud does not say what the stream is: "+err.Error(), http.StatusServiceUnavailable)
	default:
		telemetry.WriteJSON(w, prefetchPlan{p, pricesOf(h.g.cfg).region})
	}
}

// planHandler answers GET /api/v1/streams/{id}/prefetch: what it would take.
type planHandler struct{ g *gateway }

// planPatience is how long the cloud has to say what a stream is.
const planPatience = 20 * time.Second

// dryPrefetch says what a prefetch would cost.
func (o *streamPrices) dryPrefetch(cmd *cobra.Command, c *transfersClient, id string, asJSON bool) error {
	var p prefetchPlan
	if err := c.ask(cmd.Context(), http.MethodGet, "/api/v1/streams/"+id+"/prefetch", &p); err != nil {
		return err
	}
	if !cmd.Flags().Changed("region") {
		o.region = p.Region
	}
	e, err := o.estimate(p.Plan, p.Plan)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, version %d", id, p.Version)
	if p.Cached > 0 {
		what += ", " + strings.TrimSpace(humanSize(p.Cached)) + " of which are here already"
	}
	return e.told(cmd.OutOrStdout(), asJSON, what)
}
