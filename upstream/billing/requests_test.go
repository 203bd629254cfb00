package billing

import (
	"strings"
	"testing"
)

// Requests to S3 are counted by their tier and priced beside the total, in dollars
// that AWS's list says, or as a range; what has no price says why.
func TestRequestsToS3(t *testing.T) {
	spool, clock := newMemory(), &wallClock{}
	clock.set("2026-11-21 09:00")
	options := map[string]Options{"aws": withRegion(DefaultOptions(), "us-east-1")}
	m, err := NewMeter(spool, options, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	m.Opened("aws", "gw", Connection{})
	for operation, n := range map[string]int{
		"PutObject": 1990, "CreateMultipartUpload": 1, "UploadPart": 7, "CompleteMultipartUpload": 1, "ListParts": 1, // 2,000 of tier 1
		"GetObject": 2, "HeadObject": 3, // of tier 2
		"DeleteObject": 5, "AbortMultipartUpload": 1,
	} {
		for range n {
			m.Requested("s3", operation)
		}
	}
	unknown := ""
	bill := func(name string, s *Store) Total {
		t.Helper()
		l := newLedger(t, spool, options)
		l.StoresUnknown(unknown)
		if s != nil {
			l.PriceStore("s3", *s)
		}
		b, err := l.Bill(Month(clock.Wall))
		if err != nil {
			t.Fatal(err)
		}
		for _, total := range b.Totals {
			if total.Upstream == name {
				return total
			}
		}
		t.Fatalf("no total of %s in %+v", name, b.Totals)
		return Total{}
	}
	if aws := bill("aws", nil); aws.Requests != nil || aws.USDRequests != "" {
		t.Errorf("an upstream without a store: %+v", aws)
	}
	for _, c := range []struct {
		store                 *Store
		usd, between, because string
	}{
		// 2,000 × $0.005/1,000 + 5 × $0.0004/1,000
		{&Store{Region: "us-east-1"}, "0.010002", "", "S3 Standard in us-east-1 as of 2026-11-21, sourced"},
		{&Store{Region: "ap-southeast-1"}, "0.010002", "0.008002 to 0.012002", "unverified"},
		{&Store{Region: "mars-1"}, "", "", "no price: the price list of 2026-11-21 has none of S3 in mars-1"},
		{&Store{Why: "it is not Amazon's"}, "", "", "no price: it is not Amazon's"},
		{nil, "", "", "no price: file_transfer.export does not go there any more"},
	} {
		got := bill("s3", c.store)
		if got.Requests == nil || *got.Requests != (Requests{Puts: 2000, Gets: 5, Free: 6}) {
			t.Fatalf("%+v", got.Requests)
		}
		if got.USDRequests != c.usd || got.USDRequestsRange != c.between || !strings.Contains(got.RequestsNote, c.because) || got.Units != 0 || got.USD != "" {
			t.Errorf("%+v: $%s, %q, %s", c.store, got.USDRequests, got.USDRequestsRange, got.RequestsNote)
		}
	}
	unknown = "nobody has said which"
	if got := bill("s3", nil); got.RequestsNote != "no price: nobody has said which" {
		t.Error(got.RequestsNote)
	}
	if got := bill("s3", &Store{Why: "it is not Amazon's"}); got.RequestsNote != "no price: it is not Amazon's" {
		t.Error(got.RequestsNote)
	}
}
