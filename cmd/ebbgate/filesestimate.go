package main

import (
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// wayCost is what one way to carry a file takes.
type wayCost struct {
	Way      string   `json:"way"`
	Requests int64    `json:"requests"`                   // MQTT messages, or HTTP requests
	Units    int64    `json:"metered_messages,omitempty"` // of MQTT
	Bytes    int64    `json:"wire_bytes"`                 // without TLS and TCP
	USD      string   `json:"usd,omitempty"`              // of the requests; empty: no price is known
	Range    string   `json:"usd_range,omitempty"`        // where the price is not known for certain
	LinkUSD  string   `json:"link_usd,omitempty"`
	KeptUSD  string   `json:"usd_a_month_kept,omitempty"` // for as long as the file is there
	Reasons  []string `json:"reasons"`
}

// transferEstimate is what a transfer would cost.
type transferEstimate struct {
	Size      int64     `json:"size"`
	Region    string    `json:"region"`
	AsOf      string    `json:"prices_as_of"`
	Ways      []wayCost `json:"ways"`
	NotPriced []string  `json:"not_priced"`
}

// The parts of an upload to S3, and what a request has beside its body.
const (
	s3Part     = 5 << 20 // min_part_size as it is without a word
	s3Parts    = 10_000  // the most of them
	s3Overhead = 1 << 10
	awsPayload = 128 << 10 // AWS's largest payload (Q12)
)

// The ways.
const (
	wayMQTT = "MQTT messages to AWS IoT Core"
	wayS3   = "upload to S3"
)

// estimate says what a file of that size would cost, by two ways.
func (o *filesPut) estimate(size int64) (*transferEstimate, error) {
	prices := billing.BuiltIn()
	if _, ok := prices.Regions[o.region]; !ok {
		return nil, invalidf("--region %s: the list has no prices for it", o.region)
	}
	link, err := dollarsOf("--link-price", o.linkPrice)
	if err != nil {
		return nil, err
	}
	put, err := dollarsOf("--put-price", o.putCost)
	if err != nil {
		return nil, err
	}
	kept, err := dollarsOf("--storage-price", o.keepCost)
	if err != nil {
		return nil, err
	}
	e := &transferEstimate{Size: size, Region: o.region, AsOf: prices.AsOf}
	e.Ways = []wayCost{o.byMQTT(size, prices), o.byS3(size, put, kept)}
	e.NotPriced = []string{
		"from the device to this gateway: the site's own network, nothing is metered there",
		"rules, Lambda or whatever puts MQTT blocks together in the cloud: as much again, or more",
		"reading the object from S3, its replication, and S3's transfer acceleration or VPC endpoints",
		"repetitions after lost connections, TLS and TCP (some 3 % of the bytes), free tiers, taxes",
	}
	e.onLink(link)
	return e, nil
}

// onLink prices the bytes of each way on the link, by dollars for a GB; nil: nobody has
// said.
func (e *transferEstimate) onLink(perGB *big.Rat) {
	if perGB == nil {
		e.NotPriced = append(e.NotPriced, "the link: --link-price says what a GB costs")
		return
	}
	for i := range e.Ways {
		way := &e.Ways[i]
		way.LinkUSD = billing.Dollars(new(big.Rat).Mul(perGB, big.NewRat(way.Bytes, 1_000_000_000)))
	}
}

// dollarsOf reads a price; empty: none.
func dollarsOf(flag, text string) (*big.Rat, error) {
	if text == "" {
		return nil, nil
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok || r.Sign() < 0 || strings.ContainsAny(text, "/eE") {
		return nil, invalidf("%s %s: write dollars, such as 0.09", flag, text)
	}
	return r, nil
}

// byMQTT is the file as messages to AWS IoT Core.
func (o *filesPut) byMQTT(size int64, prices *billing.PriceList) wayCost {
	segment := min(int64(o.segment), awsPayload)
	n := (size + segment - 1) / segment
	topic := fmt.Sprintf("$file/%s/%d", strings.Repeat("i", 24), max(size-1, 0)) // as long as the longest
	meter := func(payload int64) int64 {
		return billing.Publish(&bridge.Message{Topic: topic, Payload: make([]byte, payload)}, billing.DefaultUnit)
	}
	way := wayCost{Way: wayMQTT, Requests: n + 2}
	const head = 9 // of a PUBLISH: type, length, topic's length, packet id, no properties
	way.Bytes = size + (n+2)*int64(len(topic)+head)
	way.Units = 2 * meter(0)
	if n > 0 {
		full := meter(segment)
		way.Units += (n-1)*full + meter(size-(n-1)*segment)
		way.Reasons = append(way.Reasons, fmt.Sprintf("%s of up to %s, init and fin; AWS takes no payload above 128 KiB", count(int(n), "segment"), humanSize(segment)),
			fmt.Sprintf("a metered message is 5 KiB of topic and payload: a segment is %d of them", full))
	}
	a, _ := prices.Cost(o.region, billing.Usage{Messages: way.Units}, false)
	way.USD, way.Range = a.String(), a.Range()
	way.Reasons = append(way.Reasons, fmt.Sprintf("the price of the first tier of %s, of the list of %s; the free tier is not taken off", o.region, prices.AsOf))
	return way
}

// byS3 is the file as an upload to S3, as the gateway exports it.
func (o *filesPut) byS3(size int64, per1000, perGB *big.Rat) wayCost {
	way := wayCost{Way: wayS3}
	way.Requests, way.Reasons = s3Requests(size, s3Part)
	if size > s3Part {
		way.Reasons[0] += "; with another min_part_size they are others"
	}
	way.Bytes = size + way.Requests*s3Overhead
	if per1000 != nil {
		way.USD = billing.Dollars(new(big.Rat).Mul(per1000, big.NewRat(way.Requests, 1000)))
		way.Reasons = append(way.Reasons, fmt.Sprintf("$%s for 1000 requests, %s; bytes into S3 are free", per1000.FloatString(4), sourceOf("--put-price", o.putCost, putPrice)))
	}
	if perGB != nil {
		way.KeptUSD = billing.Dollars(new(big.Rat).Mul(perGB, big.NewRat(size, 1<<30)))
		way.Reasons = append(way.Reasons, fmt.Sprintf("$%s for a GB (2^30 bytes) that is kept for a month, %s", perGB.FloatString(4), sourceOf("--storage-price", o.keepCost, keepPrice)))
	}
	return way
}

// s3Requests is how many requests an upload takes, and why.
func s3Requests(size, part int64) (n int64, reasons []string) {
	if size <= part {
		return 1, []string{"one PutObject: the file is not larger than a part of " + inMiB(part)}
	}
	part = max(part, (size+s3Parts-1)/s3Parts)
	parts := (size + part - 1) / part
	return parts + 2, []string{fmt.Sprintf("%s of %s by UploadPart, and two requests to begin and to end", count(int(parts), "part"), humanSize(part))}
}

func inMiB(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// S3's prices when nobody says others: those of S3 Standard in us-east-1, first tier, as
// Amazon had them on its page of prices in 2025. The gateway's own list, which is of
// IoT Core, does not have them, and nothing has compared them since.
const (
	putPrice  = "0.005"
	keepPrice = "0.023"
)

// sourceOf says where a price is from.
func sourceOf(flag, value, usual string) string {
	if value != usual {
		return "by " + flag
	}
	return "that of S3 Standard in us-east-1 as of 2025, not verified: " + flag + " says yours"
}

// print tells it in words.
func (e *transferEstimate) print(w io.Writer, name string) error {
	t := &billTable{out: w}
	t.printf("%s, %s, %s, prices of %s\n", printable(name), humanSize(e.Size), e.Region, e.AsOf)
	for _, way := range e.Ways {
		t.printf("\n%s: $%s", way.Way, way.USD)
		if way.Range != "" {
			t.printf(" (%s)", way.Range)
		}
		if way.LinkUSD != "" {
			t.printf(", and $%s for the link", way.LinkUSD)
		}
		if way.KeptUSD != "" {
			t.printf(", and $%s a month while it is kept", way.KeptUSD)
		}
		t.printf("\n")
		if way.Units > 0 {
			t.printf("  %s messages, %s metered, %s on the wire\n", thousands(way.Requests), thousands(way.Units), humanSize(way.Bytes))
		} else {
			t.printf("  %s, %s on the wire\n", count(int(way.Requests), "request"), humanSize(way.Bytes))
		}
		for _, r := range way.Reasons {
			t.paragraph("  ", r)
		}
	}
	t.printf("\nnot in this:\n")
	for _, n := range e.NotPriced {
		t.paragraph("  ", n)
	}
	return t.err
}
