package cur

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"
)

const older = "\ufeffidentity/LineItemId,bill/PayerAccountId,lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,lineItem/ProductCode,lineItem/UsageType,lineItem/UsageAmount,lineItem/CurrencyCode,lineItem/UnblendedCost,product/region\n" +
	"a,1,111122223333,Usage,2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,AWSIoT,EUC1-Messages,1000000.0000000000,USD,1.2000000000,eu-central-1\n" +
	"b,1,111122223333,Usage,2026-11-01T01:00:00Z,2026-11-01T02:00:00Z,AWSIoT,EUC1-Messages,500000,USD,0.6,eu-central-1\n" +
	"c,1,111122223333,Usage,2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,AmazonS3,EUC1-Requests-Tier1,5,USD,0.1,eu-central-1\n" +
	"d,1,111122223333,Tax,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,AWSIoT,EUC1-Messages,,USD,0.34,\n" +
	"e,1,111122223333,Usage,2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,AWSIoT,ConnectionMinutes,60,USD,4.8E-6,\n"

const newer = "line_item_line_item_type,line_item_usage_start_date,line_item_usage_end_date,line_item_product_code,line_item_usage_type,line_item_usage_amount,line_item_unblended_cost,product_region_code,line_item_usage_account_id\n" +
	"Usage,2026-11-01 00:00:00,2026-11-30 12:00:00.000,AWSIoT,USW2-RulesTriggered,7,0.00000105,,111122223333\n"

func TestBothFormsOfTheReport(t *testing.T) {
	r, err := Read(strings.NewReader(older))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Charges) != 3 || r.Others != 1 {
		t.Fatalf("%+v", r)
	}
	if c := r.Charges[0]; c.Region != "eu-central-1" || c.Item != Messages || c.Kind != "Tax" || c.USD.FloatString(2) != "0.34" {
		t.Errorf("%+v", c)
	}
	if c := r.Charges[1]; c.Kind != "Usage" || c.Amount.FloatString(0) != "1500000" || c.USD.FloatString(2) != "1.80" || c.Lines != 2 || c.Account != "111122223333" {
		t.Errorf("%+v", c)
	}
	if c := r.Charges[2]; c.Region != "us-east-1" || c.Item != Minutes || c.USD.FloatString(7) != "0.0000048" {
		t.Errorf("%+v", c)
	}
	if !r.From.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) || !r.To.Equal(time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("%s to %s", r.From, r.To)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(newer))
	_ = z.Close()
	r, err = Read(&packed)
	if err != nil || len(r.Charges) != 1 || r.Charges[0].Region != "us-west-2" || r.Charges[0].Item != Rules || r.To.Hour() != 12 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestReportsThatAreNone(t *testing.T) {
	head, _, _ := strings.Cut(newer, "\n")
	row := func(cells string) string { return head + "\n" + cells }
	for name, text := range map[string]string{
		"nothing":          "",
		"another file":     "a,b,c\n1,2,3\n",
		"not a number":     row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,many,1,,1"),
		"a fraction":       row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1/3,1,,1"),
		"a bomb":           row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1e999999999,1,,1"),
		"not a cost":       row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1,free,,1"),
		"no start":         row("Usage,,2026-11-30 12:00:00,AWSIoT,Messages,1,1,,1"),
		"no end":           row("Usage,2026-11-01 00:00:00,never,AWSIoT,Messages,1,1,,1"),
		"an open quote":    row(`Usage,"2026`),
		"another currency": strings.Replace(older, "USD,1.2", "EUR,1.2", 1),
		"a torn gzip":      "\x1f\x8b\x08",
	} {
		if r, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(older))
	f.Add([]byte(newer))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Read(bytes.NewReader(in))
		if err == nil && len(r.Charges) > maxCharges {
			t.Fatalf("%d charges", len(r.Charges))
		}
	})
}
