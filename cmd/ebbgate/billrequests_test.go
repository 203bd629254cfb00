package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/s3"
)

// Only Amazon's own store, in a region that is known and in the class of the list,
// has a price.
func TestWhichStoreHasAPrice(t *testing.T) {
	for _, c := range []struct {
		o   s3.Options
		why string
	}{
		{s3.Options{Region: "us-east-1"}, ""},
		{s3.Options{Region: "us-east-1", StorageClass: "STANDARD"}, ""},
		{s3.Options{Region: "us-east-1", StorageClass: "STANDARD_IA"}, "STANDARD_IA cost more"},
		{s3.Options{Region: "us-east-1", Endpoint: "https://minio.example:9000"}, "not Amazon's"},
		{s3.Options{}, "file_transfer.export.s3.region"},
	} {
		got := storeOf(c.o)
		if (got.Why == "") != (c.why == "") || !strings.Contains(got.Why, c.why) || c.why == "" && got.Region != c.o.Region {
			t.Errorf("%+v: %+v", c.o, got)
		}
	}
}

func TestBillShowsRequests(t *testing.T) {
	total := billing.Total{Requests: &billing.Requests{Puts: 2000, Gets: 5, Free: 6}, RequestsNote: "no price: it is not Amazon's"}
	var out strings.Builder
	(&billTable{out: &out}).known(total)
	if got := strings.Join(strings.Fields(out.String()), " "); got != "requests to S3: 2,000 PUT, COPY, POST and LIST, 5 GET and others, 6 that are free (no price: it is not Amazon's), besides the total" {
		t.Errorf("%q", got)
	}
	total.USDRequests, total.USDRequestsRange = "0.010002", "0.008002 to 0.012002"
	out.Reset()
	(&billTable{out: &out}).known(total)
	if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), "free: $0.010002, between $0.008002 and $0.012002 (") {
		t.Errorf("%q", out.String())
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if utf8.RuneCountInString(line) > columns {
			t.Errorf("%d columns: %q", utf8.RuneCountInString(line), line)
		}
	}
}

// Without a configuration nobody knows where files go, and the bill says no more than that.
func TestBillWithoutAConfiguration(t *testing.T) {
	config, cfg := billed(t)
	s, err := spool.Open(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := billing.NewMeter(s, billingOf(cfg), bridge.NewClock(s.Age, func() bool { return true }).Now)
	if err != nil {
		t.Fatal(err)
	}
	m.Requested(billOfS3, "PutObject")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(m.Run(ctx), s.Close()); err != nil { // writes what was asked
		t.Fatal(err)
	}
	t.Setenv("EBBGATE_CONFIG", "")
	for want, args := range map[string][]string{
		"(no price: without --config it is not known where files go)": {"--set", "spool.dir=" + cfg.Spool.Dir, "--set", "admin.address=" + cfg.Admin.Address},
		"(no price: file_transfer.export does not go there any more)": {"--config", config},
	} {
		if out := strings.Join(strings.Fields(runBill(t, args...)), " "); !strings.Contains(out, want) {
			t.Errorf("%v: no %q in\n%s", args, want, out)
		}
	}
}
